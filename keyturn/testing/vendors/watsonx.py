"""IBM Cloud's IAM: the exchange of an API key for a token, and the API keys of a service ID, after IBM's SDK.

Control: see keyturn.testing.vendors.service.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, form_of, moment
from keyturn.testing.vendors.tokens import TokenSimulator

ACCOUNT = "a7c1f0d2b3e4485f96a7b8c9d0e1f2a3"
IAM_ID = "iam-ServiceId-3c1f7a52-0b7e-4b57-9d0a-2f4f6a1f8e10"
_KEYS = "/v1/apikeys"
_LIST = ("account_id", "iam_id", "pagesize", "pagetoken", "scope", "type", "sort", "order", "include_history", "filter")
_MADE = ("name", "iam_id", "description", "account_id", "apikey", "store_value", "action_when_leaked", "expires_at")


class WatsonxSimulator(TokenSimulator):
    """See the module's text."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI ibm-platform-services 0.77", "tests/providers/test_watsonx.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("issue_token", "key", "POST", "/identity/token", body=None),
        Route("list_keys", "admin", "GET", _KEYS, query=_LIST),
        Route("create_key", "admin", "POST", _KEYS, body=_MADE),
        Route("get_key", "admin", "GET", f"{_KEYS}/{{id}}", query=("include_history", "include_activity")),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}"),
        Route("disable", "admin", "POST", f"{_KEYS}/{{id}}/disable"),
        Route("enable", "admin", "DELETE", f"{_KEYS}/{{id}}/disable"),
        Route("lock", "admin", "POST", f"{_KEYS}/{{id}}/lock"),
        Route("unlock", "admin", "DELETE", f"{_KEYS}/{{id}}/lock"),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        **TokenSimulator.GIVES,
        "disable": frozenset({"disable", "enable", "lock", "unlock"}),
    }

    def text(self, literal: str) -> str:
        return f"{literal}{secrets.token_urlsafe(44)}"[:44]

    def token_text(self) -> str:
        """A JSON Web Token, as the SDK reads it: it looks for the times in it."""
        now = int(self.clock())
        parts = ({"alg": "RS256", "typ": "JWT"}, {"iam_id": IAM_ID, "iat": now, "exp": now + self.token_lifetime})
        told = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        signature = super().token_text()
        return ".".join((*told, signature[: len(signature) // 4 * 4]))  # base64 has no other lengths without padding

    def key_of(self, request: Request) -> str:
        return form_of(request).get("apikey", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        told = {"errorCode": code, "errorMessage": message, "context": {"requestId": secrets.token_hex(8)}}
        return JSONResponse(told, status)

    def rejected(self, group: str) -> Response:
        if group == "key":
            return self.error(400, "Provided API key could not be found.", "BXNIM0415E")
        return self.error(401, "Authentication failed", "BXNIM0308E")

    def new_id(self) -> str:
        return f"ApiKey-{super().new_id()}"

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        if (call.query.get("account_id"), call.query.get("iam_id")) != (ACCOUNT, IAM_ID):
            raise RefusedError(400, "account_id and iam_id do not fit", "BXNIM0104E")
        size, start = min(int(call.query.get("pagesize", 20)), 100), int(call.query.get("pagetoken", "0"))
        shown = self.live()
        told: dict[str, Any] = {"offset": start, "limit": size}
        if start + size < len(shown):
            told["next"] = f"{call.request.url.replace(query='')}?pagetoken={start + size}&pagesize={size}"
        return {**told, "apikeys": [self._shown(key) for key in shown[start : start + size]]}

    async def create_key(self, call: Call) -> Response:
        name, until = call.body.get("name"), call.body.get("expires_at")
        if not name or call.body.get("iam_id") != IAM_ID:
            raise RefusedError(400, "name and iam_id are required", "BXNIM0104E")
        key, material = self.add_key(
            name,
            expires_at=moment(until) if until else None,
            text=call.body.get("apikey"),
            locked=call.request.headers.get("entity-lock") == "true",
            kept=call.body.get("store_value", False),
        )
        return JSONResponse({**self._shown(key), "apikey": material.reveal()}, 201)

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["id"])
        if call.query.get("include_activity") != "true":
            return self._shown(key)
        used, told = self.last_use(key), {"authn_count": len(key.uses)}
        return {**self._shown(key), "activity": {**told, **({"last_authn": _minute(used)} if used else {})}}

    async def delete_key(self, call: Call) -> Response:
        key = self._unlocked(call)
        self.delete(key)
        return Response(status_code=204)

    async def disable(self, call: Call) -> Response:
        self._unlocked(call).disabled = True
        return Response(status_code=204)

    async def enable(self, call: Call) -> Response:
        self._unlocked(call).disabled = False
        return Response(status_code=204)

    async def lock(self, call: Call) -> Response:
        self.by_id(call.path["id"]).more["locked"] = True
        return Response(status_code=204)

    async def unlock(self, call: Call) -> Response:
        self.by_id(call.path["id"]).more["locked"] = False
        return Response(status_code=204)

    def _unlocked(self, call: Call) -> Key:
        """A locked key cannot be changed."""
        key = self.by_id(call.path["id"])
        if key.more.get("locked"):
            raise RefusedError(409, "the API key is locked", "BXNIM0124E")
        return key

    def _shown(self, key: Key) -> Mapping[str, Any]:
        more = {"expires_at": _minute(key.expires_at)} if key.expires_at else {}
        return {
            "id": key.id,
            "entity_tag": f"1-{key.fingerprint}",
            "crn": f"crn:v1:bluemix:public:iam-identity::a/{ACCOUNT}::apikey:{key.id}",
            "locked": key.more.get("locked", False),
            "disabled": key.disabled,
            "created_at": _minute(key.created_at),
            "created_by": "IBMid-110000AB1Z",
            "modified_at": _minute(key.created_at),
            "name": key.name,
            "iam_id": IAM_ID,
            "account_id": ACCOUNT,
            "apikey": "",
            **more,
        }


def _minute(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M+0000")
