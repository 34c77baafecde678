"""OpenAI's admin keys below /v1, after its API description. Control: see keyturn.testing.vendors.service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keyturn.material import KeyMaterial
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, bearer_of

_KEYS = "/v1/organization/admin_api_keys"
_BY_A_KEY = f"{_KEYS}/-/listed-by-a-key"
_LIST = ("after", "limit", "order")
_LONGEST = 31_536_000  # seconds


class OpenAIAdminKeySimulator(Simulator):
    """`administers`: every live key may do all that the management key may, as it is at OpenAI. Without it a key may be
    tried, by a call that lists one, and is told from the management key: so the suite can fail the one and not the other.
    """

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SPEC, "OpenAI's OpenAPI description of 2026-08", "tests/providers/test_openai_admin_key.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=_LIST),
        Route("create_key", "admin", "POST", _KEYS, body=("name", "expires_in_seconds")),
        Route("get_key", "admin", "GET", f"{_KEYS}/{{id}}"),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}"),
        Route("listed_by_a_key", "key", "GET", _BY_A_KEY, query=_LIST),
    )

    administers = False

    def app(self) -> Starlette:
        made = super().app()
        made.add_middleware(_ByWhom, is_a_key=self._is_a_key)
        return made

    def _is_a_key(self, request: Request) -> bool:
        text = bearer_of(request)
        return not self.administers and bool(text) and KeyMaterial(text).fingerprint() != self.admin_fingerprint

    def knows(self, fingerprint: str) -> bool:
        """Whether a login of this fingerprint may administer."""
        key = self.keys.get(fingerprint)
        lives = self.administers and key is not None and key.accepted(self.clock())
        return lives or fingerprint == self.admin_fingerprint

    def text(self, literal: str) -> str:
        return openai_key("admin", literal).reveal()

    def error(self, status: int, message: str, code: str = "") -> Response:
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code or None}}
        return JSONResponse(body, status)

    def rejected(self, group: str) -> Response:
        return self.error(401, "Incorrect API key provided.", "invalid_api_key")

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        if route.group != "admin" or not self.administers:
            return super()._may(route, caller, key)
        if caller is None or not self.knows(caller.fingerprint()):
            return False
        if key is not None:
            key.uses.append(self.clock())
        return True

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        keys = self.live()
        if call.query.get("order", "asc") == "desc":
            keys.reverse()
        after = call.query.get("after")
        if after:
            ids = [key.id for key in keys]
            if after not in ids:
                raise RefusedError(400, "after names nothing", "invalid_value")
            keys = keys[ids.index(after) + 1 :]
        limit = int(call.query.get("limit", "20"))
        page = [self._shown(key) for key in keys[:limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return {"object": "list", "data": page, "has_more": len(keys) > limit, **ends}

    async def listed_by_a_key(self, call: Call) -> Mapping[str, Any]:
        return await self.list_keys(call)

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        name, lives = call.body.get("name"), call.body.get("expires_in_seconds")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name is required", "missing_required_parameter")
        if lives is not None and not (isinstance(lives, int) and 1 <= lives <= _LONGEST):
            raise RefusedError(400, "expires_in_seconds is out of range", "invalid_value")
        key, material = self.add_key(name, expires_at=None if lives is None else self.clock() + lives)
        return {**self._shown(key), "value": material.reveal()}

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        return self._shown(self.by_id(call.path["id"]))

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["id"])
        self.delete(key)
        return {"id": key.id, "object": "organization.admin_api_key.deleted", "deleted": True}

    def _shown(self, key: Key) -> dict[str, Any]:
        used = self.last_use(key)
        return {
            "object": "organization.admin_api_key",
            "id": key.id,
            "name": key.name,
            "redacted_value": key.hint,
            "created_at": int(key.created_at),
            "expires_at": None if key.expires_at is None else int(key.expires_at),
            "last_used_at": None if used is None else int(used),
            "owner": {
                "type": "user",
                "object": "organization.user",
                "id": "user_1",
                "name": "A User",
                "created_at": 0,
                "role": "owner",
            },
        }


class _ByWhom:
    """A list that is asked for with a key goes to a route of its own."""

    def __init__(self, app: ASGIApp, is_a_key: Callable[[Request], bool]) -> None:
        self._app, self._is_a_key = app, is_a_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_list = scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", _KEYS)
        if is_list and self._is_a_key(Request(scope)):
            scope = {**scope, "path": _BY_A_KEY, "raw_path": _BY_A_KEY.encode()}
        await self._app(scope, receive, send)
