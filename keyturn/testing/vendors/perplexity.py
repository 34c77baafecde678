"""Perplexity's two calls for keys, and its list of async requests. Control: see keyturn.testing.vendors.service."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator


class PerplexitySimulator(Simulator):
    """See the module's text. Any live key may make and delete keys, and so may the one that a person made at first."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE, "https://docs.perplexity.ai/openapi-auth.json", "tests/providers/test_perplexity.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("create_key", "admin", "POST", "/generate_auth_token", body=("token_name",)),
        Route("delete_key", "admin", "POST", "/revoke_auth_token", body=("auth_token",)),
        Route("requests", "key", "GET", "/v1/async/sonar"),
    )

    def text(self, literal: str) -> str:
        return f"pplx-{literal}{secrets.token_hex(24)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"error": {"message": message, "type": code or "error", "code": status}}, status)

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        if caller is not None and caller.fingerprint() == self.admin_fingerprint:
            return True
        return (route.group == "key" and self.anyone) or (key is not None and key.accepted(self.clock()))

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        name = call.body.get("token_name")
        key, material = self.add_key(name or "")
        made = {"auth_token": material.reveal(), "created_at_epoch_seconds": int(key.created_at)}
        return made if name is None else {**made, "token_name": name}

    async def delete_key(self, call: Call) -> Response:
        text = call.body.get("auth_token")
        key = self.keys.get(KeyMaterial(text).fingerprint()) if isinstance(text, str) and text else None
        if key is None or key.deleted:
            raise RefusedError(400, "Invalid auth token")
        self.delete(key)
        return Response(status_code=200)

    async def requests(self, call: Call) -> Mapping[str, Any]:
        return {"requests": [], "next_token": None}
