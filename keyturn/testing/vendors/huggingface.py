"""Hugging Face's whoami-v2, after its client, and the call that revokes tokens by their texts. Control: see service."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, RefusedError, Route, Simulator, stamp


class HuggingFaceSimulator(Simulator):
    """See the module's text. The SDK has no call that revokes: its form is from other projects' notes."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI huggingface_hub, for whoami-v2", "tests/providers/test_huggingface.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("whoami", "key", "GET", "/api/whoami-v2"),
        Route("revoke_keys", "open", "POST", "/api/credentials/revoke", body=("credentials",)),
    )

    def text(self, literal: str) -> str:
        return f"hf_{literal}{secrets.token_hex(16)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"error": code or message}, status)

    async def whoami(self, call: Call) -> Mapping[str, Any]:
        if call.key is None:
            raise RefusedError(401, "Invalid username or password.")
        token = {"displayName": call.key.name, "role": "fineGrained", "createdAt": stamp(call.key.created_at)}
        return {"type": "user", "id": "u1", "name": "somebody", "auth": {"type": "access_token", "accessToken": token}}

    async def revoke_keys(self, call: Call) -> Response:
        texts = call.body.get("credentials")
        if not isinstance(texts, list) or not texts:
            raise RefusedError(400, "credentials: a list of tokens")
        for text in texts:
            key = self.keys.get(KeyMaterial(text).fingerprint())
            if key is not None and not key.deleted:
                self.delete(key)
        return Response(status_code=202)
