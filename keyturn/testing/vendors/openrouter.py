"""OpenRouter's keys API below /api/v1, after its OpenAPI description. Control: see keyturn.testing.vendors.service."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, moment, stamp

_BASE = "/api/v1"
_LIST = ("offset", "include_disabled", "include_expired", "workspace_id")
_MADE = ("name", "limit", "limit_reset", "include_byok_in_limit", "expires_at", "workspace_id", "creator_user_id")
DEFAULT_WORKSPACE = "0df9e665-d932-5740-b2c7-b52af166bc11"
_PAGE = 100


class OpenRouterSimulator(Simulator):
    """See the module's text."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK, "PyPI openrouter 1.3.84, and the OpenAPI description", "tests/providers/test_openrouter.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", f"{_BASE}/keys", query=_LIST),
        Route("create_key", "admin", "POST", f"{_BASE}/keys", body=_MADE),
        Route("get_key", "admin", "GET", f"{_BASE}/keys/{{hash}}"),
        Route("update_key", "admin", "PATCH", f"{_BASE}/keys/{{hash}}", body=("name", "disabled", "limit", "workspace_id")),
        Route("delete_key", "admin", "DELETE", f"{_BASE}/keys/{{hash}}"),
        Route("current_key", "key", "GET", f"{_BASE}/key"),
    )

    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "list", "delete", "disable"}),)

    def text(self, literal: str) -> str:
        return f"sk-or-v1-{literal}{secrets.token_hex(32)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"error": {"code": status, "message": message}}, status)

    def new_id(self) -> str:
        return hashlib.sha256(super().new_id().encode()).hexdigest()

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        """A management key, too, is told what it is."""
        is_admin = caller is not None and caller.fingerprint() == self.admin_fingerprint
        return (is_admin and route.operation == "current_key") or super()._may(route, caller, key)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        workspace = call.query.get("workspace_id", DEFAULT_WORKSPACE)
        now = self.clock()
        shown = [
            key
            for key in self.live()
            if key.more.get("workspace_id", DEFAULT_WORKSPACE) == workspace
            and (call.query.get("include_disabled") == "true" or not key.disabled)
            and (call.query.get("include_expired") == "true" or key.expires_at is None or key.expires_at > now)
        ]
        offset = int(call.query.get("offset", "0"))
        return {"data": [self._shown(key) for key in list(reversed(shown))[offset : offset + _PAGE]]}

    async def create_key(self, call: Call) -> Response:
        name, until = call.body.get("name"), call.body.get("expires_at")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name is required")
        key, material = self.add_key(
            name,
            expires_at=moment(until) if until else None,
            limit=call.body.get("limit"),
            workspace_id=call.body.get("workspace_id", DEFAULT_WORKSPACE),
        )
        return JSONResponse({"key": material.reveal(), "data": self._shown(key)}, 201)

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        return {"data": self._shown(self.by_id(call.path["hash"]))}

    async def update_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["hash"])
        key.name = call.body.get("name", key.name)
        key.disabled = call.body.get("disabled", key.disabled)
        return {"data": self._shown(key)}

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self.delete(self.by_id(call.path["hash"]))
        return {"deleted": True}

    async def current_key(self, call: Call) -> Mapping[str, Any]:
        key, is_management = call.key, self.is_admin(call.request) and not self.lacks("create")
        if key is None and not self.is_admin(call.request):
            raise RefusedError(401, "Missing Authentication header")
        return {
            "data": {
                **self._figures(key),
                "label": key.hint if key else "sk-or-v1-...",
                "budgets": [],
                "effective_budget": None,
                "allowed_data_regions": [],
                "free_model_daily_requests": {"limit": 50, "remaining": 50, "used": 0},
                "organization_id": None,
                "workspace_id": key.more.get("workspace_id", DEFAULT_WORKSPACE) if key else DEFAULT_WORKSPACE,
                "is_free_tier": False,
                "is_management_key": is_management,
                "is_provisioning_key": is_management,
                "expires_at": stamp(key.expires_at) if key else None,
                "rate_limit": {"interval": "1h", "note": "This field is deprecated and safe to ignore.", "requests": -1},
            }
        }

    def _shown(self, key: Key) -> Mapping[str, Any]:
        return {
            **self._figures(key),
            "hash": key.id,
            "name": key.name,
            "label": key.hint,
            "disabled": key.disabled,
            "created_at": stamp(key.created_at),
            "updated_at": None,
            "external_user": None,
            "last_used_at": stamp(self.last_use(key)),
            "expires_at": stamp(key.expires_at),
            "workspace_id": key.more.get("workspace_id", DEFAULT_WORKSPACE),
        }

    @staticmethod
    def _figures(key: Key | None) -> Mapping[str, Any]:
        usage = {f"{kind}{span}": 0.0 for kind in ("usage", "byok_usage") for span in ("", "_daily", "_weekly", "_monthly")}
        limit = key.more.get("limit") if key else None
        more = {"limit": limit, "limit_remaining": limit, "limit_reset": None, "include_byok_in_limit": False}
        return {**usage, **more, "creator_user_id": None}
