"""ElevenLabs' service accounts API, as its SDK has it, and the user that a key is tried with."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator

ACCOUNT = "sa_litellm"
_KEYS = "/v1/service-accounts/{account}/api-keys"
_MADE = ("name", "permissions", "character_limit", "allowed_ips", "third_party_disable_allowed", "expires_at_unix")
_SOONEST, _LATEST = 15 * 60, 90 * 86400  # seconds from now that a key may expire


class ElevenLabsSimulator(Simulator):
    """See the module's text. What the SDK lets be anything is null here: who reads more into it fails."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI elevenlabs 2.78.0", "tests/providers/test_elevenlabs.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS),
        Route("create_key", "admin", "POST", _KEYS, body=_MADE),
        Route("update_key", "admin", "PATCH", f"{_KEYS}/{{id}}", body=("is_enabled", "name", "permissions")),
        Route("disable_key", "admin", "POST", f"{_KEYS}/{{id}}/disable"),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}"),
        Route("get_user", "key", "GET", "/v1/user"),
    )

    def text(self, literal: str) -> str:
        return f"sk_{literal}{secrets.token_hex(24)}"

    def admin_of(self, request: Request) -> str:
        return request.headers.get("xi-api-key", "")

    def key_of(self, request: Request) -> str:
        return request.headers.get("xi-api-key", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"detail": {"status": code or "error", "message": message}}, status)

    def rejected(self, group: str) -> Response:
        return self.error(401, "Invalid API key", "invalid_api_key")

    def new_id(self) -> str:
        return secrets.token_hex(16)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        return {"api-keys": [self._shown(key) for key in self.live()]}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        self._at_home(call)
        name, permissions, until = (call.body.get(each) for each in ("name", "permissions", "expires_at_unix"))
        if not name or not (permissions == "all" or (isinstance(permissions, list) and permissions)):
            raise RefusedError(422, "name and permissions are required", "invalid_request")
        if until is not None and not _SOONEST <= until - self.clock() <= _LATEST:
            raise RefusedError(400, "expires_at_unix: 15 minutes to 90 days", "invalid_request")
        key, material = self.add_key(name, expires_at=until)
        key.more = {each: call.body.get(each) for each in ("permissions", "character_limit", "allowed_ips")}
        return {"xi-api-key": material.reveal(), "key_id": key.id}

    async def update_key(self, call: Call) -> Response:
        key = self._key(call)
        if "is_enabled" in call.body:
            key.disabled = not call.body["is_enabled"]
        return JSONResponse(None)

    async def disable_key(self, call: Call) -> Response:
        self._key(call).disabled = True
        return JSONResponse(None)

    async def delete_key(self, call: Call) -> Response:
        self.delete(self._key(call))
        return JSONResponse(None)

    async def get_user(self, call: Call) -> Mapping[str, Any]:
        if call.key is None or not self._may_read_its_user(call.key):
            message = "The API key you used is missing the permission user_read to execute this operation."
            raise RefusedError(401, message, "missing_permissions")
        return {
            "user_id": ACCOUNT,
            "workspace_id": "workspace",
            "subscription": _SUBSCRIPTION,
            "is_new_user": False,
            "can_use_delayed_payment_methods": False,
            "is_onboarding_completed": True,
            "is_onboarding_checklist_completed": True,
            "created_at": 1753999199,
            "seat_type": "workspace_admin",
        }

    def _key(self, call: Call) -> Key:
        self._at_home(call)
        return self.by_id(call.path["id"])

    @staticmethod
    def _may_read_its_user(key: Key) -> bool:
        permissions = key.more.get("permissions", "all")
        return permissions == "all" or "user_read" in permissions

    @staticmethod
    def _at_home(call: Call) -> None:
        if call.path["account"] != ACCOUNT:
            raise RefusedError(404, "not found", "not_found")

    @staticmethod
    def _shown(key: Key) -> Mapping[str, Any]:
        permissions = key.more.get("permissions", "all")
        return {
            "name": key.name,
            "hint": key.hint,
            "key_id": key.id,
            "service_account_user_id": ACCOUNT,
            "created_at_unix": int(key.created_at),
            "is_disabled": key.disabled,
            "permissions": ["text_to_speech", "user_read"] if permissions == "all" else permissions,
            "disable_reason": None,
            "character_limit": key.more.get("character_limit"),
            "character_count": 0,
            "hashed_xi_api_key": hashlib.sha256(key.fingerprint.encode()).hexdigest(),
            "allowed_ips": key.more.get("allowed_ips"),
            "expires_at_unix": key.expires_at and int(key.expires_at),
        }


_COUNTS = (
    "character_count",
    "character_limit",
    "voice_slots_used",
    "professional_voice_slots_used",
    "professional_voice_slots_used_in_workspace",
    "voice_limit",
    "voice_add_edit_counter",
    "professional_voice_limit",
)
_CANS = (
    "can_extend_character_limit",
    "allowed_to_extend_character_limit",
    "can_extend_voice_limit",
    "can_use_instant_voice_cloning",
    "can_use_professional_voice_cloning",
)
_SUBSCRIPTION: dict[str, Any] = {
    **dict.fromkeys(_COUNTS, 0),
    **dict.fromkeys(_CANS, False),
    "tier": "enterprise",
    "max_credit_limit_extension": 0,
    "current_overage": {"amount": "0", "currency": "usd"},
    "status": "active",
}
