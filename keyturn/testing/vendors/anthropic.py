"""Anthropic's Admin API for keys, after its SDK: it lists keys and changes their status. Control: see service."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, bearer_of, moment, stamp

_KEYS = "/v1/organizations/api_keys"
_LIST = ("after_id", "before_id", "limit", "status", "workspace_id", "created_by_user_id")
_USAGE = ("starting_at", "ending_at", "api_key_ids[]", "time_bucket_width", "order_by", "limit", "order", "page")
_WIDTHS = {"1m": 60, "1h": 3600, "1d": 86400}
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
BETA = "analytics-usage-cost-2026-08-24"


class AnthropicSimulator(Simulator):
    """See the module's text. A key's status is in `more`; `expired` follows from its time."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI anthropic 2.12.0", "tests/providers/test_anthropic.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=_LIST),
        Route("get_key", "admin", "GET", f"{_KEYS}/{{id}}"),
        Route("update_key", "admin", "POST", f"{_KEYS}/{{id}}", body=("status", "name")),
        Route("usage", "admin", "GET", "/v1/organizations/analytics/usage", query=_USAGE),
        Route("models", "key", "GET", "/v1/models", query=("limit",)),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        "list": frozenset({"list_keys", "get_key"}),
        "delete": frozenset({"update_key"}),
        "disable": frozenset({"update_key"}),
    }
    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"delete", "disable"}),)  # both change the status

    def text(self, literal: str) -> str:
        return f"sk-ant-api03-{literal}{secrets.token_hex(40)}"

    def admin_of(self, request: Request) -> str:
        """The SDK sends a bearer, Anthropic's pages have x-api-key."""
        return request.headers.get("x-api-key") or bearer_of(request)

    def key_of(self, request: Request) -> str:
        return self.admin_of(request)

    def rejected(self, group: str) -> Response:
        return self.error(401, "invalid x-api-key")

    def error(self, status: int, message: str, code: str = "") -> Response:
        kind = code or _TYPES.get(status, "rate_limit_error" if status == 429 else "api_error")
        return JSONResponse({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}, status)

    def new_id(self) -> str:
        return f"apikey_01{secrets.token_hex(11)}"

    def delete(self, key: Key) -> None:
        """In the Console."""
        super().delete(key)
        key.more["status"] = "archived"

    def _status(self, key: Key) -> str:
        if key.expires_at is not None and key.expires_at <= self.clock():
            return "expired"
        return str(key.more.get("status", "active"))

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        limit = int(call.query.get("limit", "20"))
        if not 1 <= limit <= 1000:
            raise RefusedError(400, "limit: 1 to 1000", "invalid_request_error")
        shown = [
            key
            for key in reversed(self.keys.values())
            if call.query.get("status") in (None, self._status(key))
            and call.query.get("workspace_id") in (None, key.more.get("workspace_id", "wrkspc_default"))
        ]
        ids = [key.id for key in shown]
        begin = ids.index(call.query["after_id"]) + 1 if call.query.get("after_id") in ids else 0
        page = shown[begin : begin + limit]
        return {
            "data": [self._shown(key) for key in page],
            "has_more": begin + limit < len(shown),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        return self._shown(self._at(call))

    async def update_key(self, call: Call) -> Mapping[str, Any]:
        key, status = self._at(call), call.body.get("status")
        if self._status(key) == "expired" or (self._status(key) == "archived" and status != "archived"):
            raise RefusedError(400, "this key cannot be changed", "invalid_request_error")
        if status not in (None, "active", "inactive", "archived"):
            raise RefusedError(400, "status: active, inactive or archived", "invalid_request_error")
        if status is not None:
            key.more["status"] = status
            key.disabled = status != "active"
        return self._shown(key)

    def _at(self, call: Call) -> Key:
        for key in self.keys.values():
            if key.id == call.path["id"]:
                return key
        raise RefusedError(404, "no such key", "not_found_error")

    async def usage(self, call: Call) -> Mapping[str, Any]:
        if BETA not in call.request.headers.get("anthropic-beta", ""):
            raise RefusedError(404, "not found", "not_found_error")
        width = _WIDTHS[call.query["time_bucket_width"]]
        since, until = moment(call.query["starting_at"]), moment(call.query["ending_at"])
        if since is None or until is None or until - since > (86400 if width == 60 else 31 * 86400):
            raise RefusedError(400, "the range is too long", "invalid_request_error")
        uses = [use for key in self.keys.values() if key.id == call.query["api_key_ids[]"] for use in key.uses]
        seen = [use for use in uses if since <= use < until and use <= self.clock() - self.behaviour.usage_lag]
        buckets = sorted({int(use // width) * width for use in seen}, reverse=True)[: int(call.query.get("limit", "20"))]
        return {"data": [_row(begin, begin + width) for begin in buckets], "has_more": False, "next_page": None}

    async def models(self, call: Call) -> Mapping[str, Any]:
        model = {"type": "model", "id": "claude-test", "display_name": "Test", "created_at": "2026-01-01T00:00:00Z"}
        return {"data": [model], "has_more": False, "first_id": "claude-test", "last_id": "claude-test"}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        return {
            "type": "api_key",
            "id": key.id,
            "name": key.name,
            "status": self._status(key),
            "partial_key_hint": key.more.get("hint", key.hint),
            "created_at": stamp(key.created_at),
            "expires_at": stamp(key.expires_at),
            "created_by": {"id": "user_1", "type": "user"},
            "principal": {"type": "service_account_actor", "service_account_id": "svac_1"},
            "scope": {"type": "workspace", "workspace_id": key.more.get("workspace_id", "wrkspc_default")},
        }


def _row(begin: int, end: int) -> Mapping[str, Any]:
    return {
        "starting_at": datetime.fromtimestamp(begin, UTC).isoformat(),
        "ending_at": datetime.fromtimestamp(end, UTC).isoformat(),
        "group": {},
        "usage": {},
    }
