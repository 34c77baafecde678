"""Fireworks' gateway API, as its SDK has it: keys of a user, and the list of models that a key is tried with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, moment, stamp

ACCOUNT, USER = "acme", "litellm"
_KEYS = "/v1/accounts/{account}/users/{user}/apiKeys"
_LIST = ("pageSize", "pageToken", "filter", "orderBy", "readMask")
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 412: 9, 429: 8, 503: 14}  # of gRPC


class FireworksSimulator(Simulator):
    """See the module's text. `pages`: whether a list names its next page; by the SDK that is "to be added"."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI fireworks-ai 1.2.28", "tests/providers/test_fireworks.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=_LIST),
        Route("create_key", "admin", "POST", _KEYS, body=("apiKey",)),
        Route("delete_key", "admin", "POST", f"{_KEYS}:delete", body=("keyId",)),
        Route("list_models", "key", "GET", "/v1/accounts/{account}/models", query=_LIST),
    )
    pages = True

    def text(self, literal: str) -> str:
        return f"fw_{literal}{secrets.token_hex(12)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        details = [{"reason": code}] if code else []
        return JSONResponse({"code": _CODES.get(status, 13), "message": message, "details": details}, status)

    def new_id(self) -> str:
        return secrets.token_hex(8)

    def rejected(self, group: str) -> Response:
        return self.error(401, "Unauthorized")

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        size = min(int(call.query.get("pageSize", "50")), 200)
        start = int(call.query.get("pageToken") or "0")
        shown = self.live()[start : start + size]
        more = self.pages and start + size < len(self.live())
        return {"apiKeys": [self._shown(key) for key in shown], "nextPageToken": str(start + size) if more else ""}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        asked = call.body.get("apiKey")
        if not isinstance(asked, dict) or asked.keys() - {"displayName", "expireTime"}:
            raise RefusedError(400, "invalid apiKey")
        until = asked.get("expireTime")
        key, material = self.add_key(asked.get("displayName") or "default", expires_at=moment(until) if until else None)
        return {**self._shown(key), "key": material.reveal()}

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        self.delete(self.by_id(call.body.get("keyId", "")))
        return {}

    async def list_models(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        return {"models": [], "nextPageToken": "", "totalSize": 0}

    @staticmethod
    def _at_home(call: Call) -> None:
        if (call.path["account"], call.path.get("user", USER)) != (ACCOUNT, USER):
            raise RefusedError(404, "not found")

    @staticmethod
    def _shown(key: Key) -> Mapping[str, Any]:
        return {
            "keyId": key.id,
            "key": "",
            "displayName": key.name,
            "prefix": key.hint.partition("...")[0],
            "createTime": stamp(key.created_at),
            "expireTime": stamp(key.expires_at),
            "secure": True,
            "email": f"{USER}@acme.example",
        }
