"""xAI's management API and the key's own information, as docs.x.ai has them. Control: keyturn.testing.vendors.service."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, moment, stamp

TEAM = "5f1d7c0e-team"
_KEYS = "/auth/teams/{team}/api-keys"
_KEY = "/auth/api-keys/{id}"
_DAY = 86400.0
_MADE = ("name", "acls", "qps", "qpm", "tpm", "expireTime")


class XAISimulator(Simulator):
    """See the module's text. `regions`: how many seconds after its create each has a key. `tells_disabled`: whether a
    disabled key is told so with 200, instead of being refused: both fit the page."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE, "docs.x.ai/developers/rest-api-reference/management/auth", "tests/providers/test_xai.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=("pageSize", "paginationToken", "activeOnly")),
        Route("create_key", "admin", "POST", _KEYS, body=_MADE),
        Route("update_key", "admin", "PUT", _KEY, body=("apiKey", "fieldMask")),
        Route("delete_key", "admin", "DELETE", _KEY),
        Route("rotate_key", "admin", "POST", f"{_KEY}/rotate", body=("expireTime", "oldSecretExpireTime")),
        Route("propagation", "admin", "GET", f"{_KEY}/propagation"),
        Route("key_information", "key", "GET", "/v1/api-key"),
    )
    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "delete", "disable"}),)
    tells_disabled = False

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.regions: dict[str, float] = {"us-east-1.api.x.ai": 0, "eu-west-1.api.x.ai": 0}

    def text(self, literal: str) -> str:
        return f"xai-{literal}{secrets.token_hex(40)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"code": code or "The request was not served", "error": message}, status)

    def rejected(self, group: str) -> Response:
        if group == "admin":
            return self.error(401, "Unauthorized")
        sentence = "Incorrect API key provided: xa***00. You can obtain an API key from https://console.x.ai."
        return self.error(400, sentence, "Client specified an invalid argument")

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        told = self.tells_disabled and route.group == "key" and key is not None and key.disabled and not key.deleted
        return told or super()._may(route, caller, key)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        size, start = int(call.query.get("pageSize", "100")), int(call.query.get("paginationToken", "0"))
        asked = [key for key in self.live() if call.query.get("activeOnly") == "false" or not key.disabled]
        shown = asked[start : start + size]
        more = {"paginationToken": str(start + size)} if start + size < len(asked) else {}
        return {"apiKeys": [self._listed(key) for key in shown], **more}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        name, until = call.body.get("name"), call.body.get("expireTime")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name should not be empty")
        key, material = self.add_key(name, expires_at=moment(until) if until else None)
        key.more = {each: call.body.get(each) for each in ("acls", "qps", "qpm", "tpm")}
        return {**self._shown(key), "apiKey": material.reveal()}

    async def update_key(self, call: Call) -> Mapping[str, Any]:
        """Whether an old text is refused, too, while its key is disabled, no page tells: here it is not."""
        key = self.by_id(call.path["id"])
        if call.body.get("fieldMask") == "disabled":
            key.disabled = bool(call.body["apiKey"]["disabled"])
        return self._shown(key)

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self.delete(self.by_id(call.path["id"]))
        return {}

    async def rotate_key(self, call: Call) -> Mapping[str, Any]:
        """Of the texts before the last no page tells: they end here at once."""
        key, asked = self.by_id(call.path["id"]), call.body
        ends = moment(asked["oldSecretExpireTime"]) if "oldSecretExpireTime" in asked else self.clock() + _DAY
        if not self.clock() <= ends <= self.clock() + 7 * _DAY:
            raise RefusedError(400, "oldSecretExpireTime is at most 7 days ahead")
        for text in self.keys.values():
            if text.id == key.id and text.deleted:
                text.refused_from = min(text.refused_from, self.clock())
        turned, material = self.turn_key(key, ends - self.clock())
        if "expireTime" in asked:
            turned.expires_at = moment(asked["expireTime"])
        return {**self._shown(turned), "apiKey": material.reveal()}

    async def propagation(self, call: Call) -> Mapping[str, Any]:
        age = self.clock() - self.by_id(call.path["id"]).created_at
        return {"icPropagation": {region: age >= needed for region, needed in self.regions.items()}}

    async def key_information(self, call: Call) -> Mapping[str, Any]:
        key = call.key
        if key is None:
            raise RefusedError(401, "No authorization header")
        return {
            "redacted_api_key": key.hint,
            "user_id": "user",
            "name": key.name,
            "create_time": stamp(key.created_at),
            "modify_time": stamp(key.created_at),
            "modified_by": "user",
            "team_id": TEAM,
            "acls": key.more.get("acls") or [],
            "api_key_id": key.id,
            "team_blocked": False,
            "api_key_blocked": False,
            "api_key_disabled": key.disabled,
        }

    @staticmethod
    def _at_home(call: Call) -> None:
        if call.path["team"] != TEAM:
            raise RefusedError(404, "not found")

    @staticmethod
    def _shown(key: Key) -> dict[str, Any]:
        limits = {each: key.more.get(each) for each in ("qps", "qpm", "tpm")}
        return {
            "redactedApiKey": key.hint,
            "userId": "user",
            "name": key.name,
            "createTime": stamp(key.created_at),
            "modifyTime": stamp(key.created_at),
            "teamId": TEAM,
            "apiKeyId": key.id,
            "disabled": key.disabled,
            "expireTime": stamp(key.expires_at),
            **limits,
            "aclStrings": key.more.get("acls") or [],
        }

    def _listed(self, key: Key) -> Mapping[str, Any]:
        """As the page's example has it: two things are written otherwise than after a create."""
        shown = self._shown(key)
        acls = shown.pop("aclStrings")
        return {**shown, "acl_strings": acls, "disabled": "true" if key.disabled else "false"}
