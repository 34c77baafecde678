"""Mistral's Admin API below /api/admin, as its page has it, and the list of models. Control: see vendors.service."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, Route, Simulator, bearer_of, moment, stamp

_KEYS = "/api/admin/api-keys"
_MADE = ("name", "workspace_uuid", "user_id", "expiration")


class MistralSimulator(Simulator):
    """See the module's text. `login`: the header of the admin key, x-api-key or bearer. `largest`: keys in a page."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE,
        "docs.mistral.ai/api/endpoint/beta/admin/api-keys; the list of models by PyPI mistralai 3.7.0",
        "tests/providers/test_mistral.py",
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=("limit", "offset")),
        Route("create_key", "admin", "POST", _KEYS, body=_MADE),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}"),
        Route("list_models", "key", "GET", "/v1/models"),
    )
    login = "x-api-key"
    largest = 50

    def text(self, literal: str) -> str:
        return f"{literal}{secrets.token_hex(16)}"

    def admin_of(self, request: Request) -> str:
        return bearer_of(request) if self.login == "bearer" else request.headers.get("x-api-key", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"detail": message, **({"code": code} if code else {})}, status)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        size, start = min(int(call.query.get("limit", "20")), self.largest), int(call.query.get("offset", "0"))
        return {"keys": [self._shown(key) for key in list(reversed(self.live()))[start : start + size]]}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        until = call.body.get("expiration")
        key, material = self.add_key(call.body.get("name") or "", expires_at=moment(until) if until else None)
        key.more = {each: call.body.get(each) for each in ("workspace_uuid", "user_id")}
        return {**self._shown(key), "key": material.reveal()}

    async def delete_key(self, call: Call) -> Response:
        self.delete(self.by_id(call.path["id"]))
        return Response()  # the page does not say what comes: who reads more into it fails

    async def list_models(self, call: Call) -> Mapping[str, Any]:
        capabilities = {"completion_chat": True, "function_calling": True}
        model = {"id": "mistral-small-latest", "object": "model", "type": "base", "capabilities": capabilities}
        return {"object": "list", "data": [model]}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        until = None if key.expires_at is None else datetime.fromtimestamp(key.expires_at, UTC).date().isoformat()
        return {
            "actions": {},
            "can_delete": True,
            "created_at": stamp(key.created_at),
            "created_by": key.more.get("user_id"),
            "expiration_date": until,
            "hidden_key": key.hint,
            "key": None,
            "key_id": key.id,
            "last_used": stamp(self.last_use(key)),
            "name": key.name or None,
            "product": "API",
            "workspace_id": key.more.get("workspace_uuid"),
            "workspace_name": None,
        }
