"""Simulators whose management API takes tokens, which a token endpoint gives for a credential.

The endpoint is a route of the group key named `issue_token`: vendors try a key of theirs at the same address. A subclass
says in `key_of` where the credential stands.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.service import Call, Key, Route, Simulator


class TokenSimulator(Simulator):
    """See the module's text. `token_lifetime`: seconds."""

    token_lifetime = 3600

    def __init__(self, admin: KeyMaterial, clock: Callable[[], float] = time.time) -> None:
        super().__init__(admin, clock)
        self.issued: dict[str, float] = {}  # to the management credential: fingerprints, and when each ends

    def token_text(self) -> str:
        """Of a new token. It has the literal in it, too."""
        return f"token-{self.behaviour.key_literal}{secrets.token_hex(24)}"

    def revoke_tokens(self) -> None:
        """None that was given out is accepted any more."""
        self.issued.clear()

    async def issue_token(self, call: Call) -> Mapping[str, Any]:
        text = self.token_text()
        if self._is_admin(call.request):
            self.issued[KeyMaterial(text).fingerprint()] = self.clock() + self.token_lifetime
        return {"access_token": text, "token_type": "Bearer", "expires_in": self.token_lifetime}

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        if route.group == "admin":
            return caller is not None and self.clock() < self.issued.get(caller.fingerprint(), 0)
        if route.operation == "issue_token" and caller is not None and caller.fingerprint() == self.admin_fingerprint:
            return True
        return super()._may(route, caller, key)

    def _is_admin(self, request: Request) -> bool:
        try:
            return KeyMaterial(self.key_of(request)).fingerprint() == self.admin_fingerprint
        except ValueError:
            return False
