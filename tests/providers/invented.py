"""The vendor that docs/provider-http.md makes up: unlike OpenRouter in everything that can be declared."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator

_TOKENS = "/v2/orgs/{org}/tokens"
_MOST = 100


class AcmeSimulator(Simulator):
    """Cursors, times in seconds since 1970, ids two objects deep, 204 for a delete, codes for a dead key."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE, "docs/provider-http.md: nobody's API", "tests/providers/test_http_declared.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _TOKENS, query=("limit", "after")),
        Route("create_key", "admin", "POST", _TOKENS, body=("token",)),
        Route("delete_key", "admin", "DELETE", f"{_TOKENS}/{{id}}"),
        Route("suspend", "admin", "POST", f"{_TOKENS}/{{id}}:suspend"),
        Route("resume", "admin", "POST", f"{_TOKENS}/{{id}}:resume"),
        Route("whoami", "key", "GET", "/v2/whoami"),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {**Simulator.GIVES, "disable": frozenset({"suspend", "resume"})}

    def text(self, literal: str) -> str:
        return f"acme_{literal}{secrets.token_hex(20)}"

    def admin_of(self, request: Request) -> str:
        return request.headers.get("x-acme-admin", "")

    def key_of(self, request: Request) -> str:
        return request.headers.get("x-acme-key", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"problem": {"kind": code, "text": message}}, status)

    def rejected(self, group: str) -> Response:
        return self.error(403, "This token was revoked.", "revoked_token") if group == "key" else super().rejected(group)

    def _in(self, call: Call) -> None:
        if call.request.headers.get("acme-version") != "2026-01-01":
            raise RefusedError(400, "Acme-Version is missing", "no_version")
        if call.path.get("org", "org_1") != "org_1":
            raise RefusedError(404, "no such organization", "no_org")

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._in(call)
        most = min(int(call.query.get("limit", "20")), _MOST)
        start = int(base64.b64decode(call.query["after"])) if "after" in call.query else 0
        there = self.live()
        more = base64.b64encode(str(start + most).encode()).decode() if start + most < len(there) else None
        return {
            "result": {
                "tokens": [{"token": self._shown(key)} for key in there[start : start + most]],
                "page": {"cursor": more},
            }
        }

    async def create_key(self, call: Call) -> Response:
        self._in(call)
        asked = call.body.get("token") or {}
        if asked.keys() - {"displayName", "expireTime", "scopes"} or not asked.get("displayName"):
            raise RefusedError(400, "token is wrong", "invalid")
        until = asked.get("expireTime")
        if "expireTime" in asked and (isinstance(until, bool) or not isinstance(until, int)):
            raise RefusedError(400, "expireTime is no number", "invalid")
        key, material = self.add_key(asked["displayName"], expires_at=until)
        return JSONResponse({"token": self._shown(key), "plaintext": material.reveal()}, 201)

    async def delete_key(self, call: Call) -> Response:
        self._in(call)
        self.delete(self.by_id(call.path["id"]))
        return Response(status_code=204)

    async def suspend(self, call: Call) -> Response:
        self._in(call)
        self.by_id(call.path["id"]).disabled = True
        return Response(status_code=204)

    async def resume(self, call: Call) -> Response:
        self._in(call)
        self.by_id(call.path["id"]).disabled = False
        return Response(status_code=204)

    async def whoami(self, call: Call) -> Mapping[str, Any]:
        self._in(call)
        if call.key is None:
            raise RefusedError(403, "This token was revoked.", "revoked_token")
        return {"token": self._shown(call.key)}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        times = {"created": int(key.created_at), "used": self.last_use(key), "expires": key.expires_at}
        return {
            "meta": {"tokenId": key.id, "displayName": key.name},
            "masked": key.hint,
            "times": {name: time for name, time in times.items() if time is not None},
        }
