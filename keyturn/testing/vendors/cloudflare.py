"""Cloudflare's account tokens below /client/v4, after its SDK. Control: see keyturn.testing.vendors.service.

A token named TEMPLATE can be read by its id and is in no list, as one that somebody else made is for a management token with
the permission list_self.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, moment, stamp

ACCOUNT = "8d2f0c7b5e6a41f3b9c0d1e2f3a4b5c6"
TEMPLATE = "ed17574386854bf78a67040be0a770b0"
MANAGEMENT = "7c9e6679f3b44d2aa1c5d0e8b2f46a13"  # the id of the management token
_TOKENS = f"/client/v4/accounts/{ACCOUNT}/tokens"
_LIST = ("direction", "include_expired", "page", "per_page")
_MADE = ("name", "policies", "condition", "expires_on", "not_before")
_LARGEST_PAGE = 50
POLICY = {
    "id": "f267e341f3dd4697bd3b9f71dd96247f",
    "effect": "allow",
    "resources": {f"com.cloudflare.api.account.{ACCOUNT}": "*"},
    "permission_groups": [{"id": "a92d2450e05d4e7bb7d0a64968f83d11", "name": "Workers AI Read", "meta": {"label": "ai"}}],
}
CONDITION = {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.7/32"]}}


class CloudflareSimulator(Simulator):
    """See the module's text."""

    own_life: Mapping[str, str | None] = {}  # `issued_on` and `expires_on` of the management token

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI cloudflare 5.9.0", "tests/providers/test_cloudflare.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("verify", "key", "GET", f"{_TOKENS}/verify"),
        Route("list_keys", "admin", "GET", _TOKENS, query=_LIST),
        Route("create_key", "admin", "POST", _TOKENS, body=_MADE),
        Route("get_key", "admin", "GET", f"{_TOKENS}/{{id}}"),
        Route("update_key", "admin", "PUT", f"{_TOKENS}/{{id}}", body=(*_MADE, "status")),
        Route("turn_key_over", "admin", "PUT", f"{_TOKENS}/{{id}}/value"),
        Route("delete_key", "admin", "DELETE", f"{_TOKENS}/{{id}}"),
    )

    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "delete", "disable"}),)

    def text(self, literal: str) -> str:
        return f"{literal}{secrets.token_urlsafe(40)}"[:40]

    def error(self, status: int, message: str, code: str = "") -> Response:
        told = [{"code": int(code) if code.isdigit() else 10000 + status, "message": message}]
        return JSONResponse({"success": False, "errors": told, "messages": [], "result": None}, status)

    def rejected(self, group: str) -> Response:
        return self.error(401, "Invalid API Token", "1000") if group == "key" else self.error(403, "Authentication error")

    def new_id(self) -> str:
        return f"{next(self._numbers):08x}{secrets.token_hex(12)}"

    async def verify(self, call: Call) -> Mapping[str, Any]:
        key = call.key
        if self.is_admin(call.request):
            return _done({"id": MANAGEMENT, "status": "active"})
        if key is None:
            raise RefusedError(401, "Invalid API Token", "1000")
        more = {"expires_on": stamp(key.expires_at)} if key.expires_at else {}
        return _done({"id": key.id, "status": "active", **more})

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        page, size = int(call.query.get("page", 1)), min(int(call.query.get("per_page", 20)), _LARGEST_PAGE)
        all_of_them = call.query.get("include_expired") == "true"
        shown = [key for key in self.live() if all_of_them or self._status(key) != "expired"]
        here = shown[(page - 1) * size : page * size]
        info = {"page": page, "per_page": size, "count": len(here), "total_count": len(shown)}
        return {**_done([self._shown(key) for key in here]), "result_info": info}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        name, until = call.body.get("name"), call.body.get("expires_on")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "name is required", "1001")
        more: dict[str, Any] = {"policies": _policies(call.body), "condition": call.body.get("condition")}
        key, material = self.add_key(name, expires_at=moment(until) if until else None, **more)
        return _done({**self._shown(key), "value": material.reveal()})

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        """The management token, too, can be verified."""
        is_admin = caller is not None and caller.fingerprint() == self.admin_fingerprint
        return (is_admin and route.operation == "verify") or super()._may(route, caller, key)

    def _own_policies(self) -> list[Mapping[str, Any]]:
        verbs = {"list": "Account API Tokens Read", "create": "Account API Tokens Write"}
        groups = [{"id": secrets.token_hex(16), "name": name} for verb, name in verbs.items() if not self.lacks(verb)]
        return [{**POLICY, "permission_groups": groups}]

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        if call.path["id"] == MANAGEMENT:
            return _done({"id": MANAGEMENT, "status": "active", "policies": self._own_policies(), **self.own_life})
        if call.path["id"] == TEMPLATE:
            return _done({"id": TEMPLATE, "status": "disabled", "policies": [POLICY], "condition": CONDITION})
        return _done(self._shown(self.by_id(call.path["id"])))

    async def update_key(self, call: Call) -> Mapping[str, Any]:
        """The whole of it: what is not said is gone."""
        key, until = self.by_id(call.path["id"]), call.body.get("expires_on")
        if not isinstance(call.body.get("name"), str):
            raise RefusedError(400, "name is required", "1001")
        key.name, key.expires_at = call.body["name"], moment(until) if until else None
        key.more.update(policies=_policies(call.body), condition=call.body.get("condition"))
        key.disabled = call.body.get("status", "active") == "disabled"
        return _done(self._shown(key))

    async def turn_key_over(self, call: Call) -> Mapping[str, Any]:
        _, material = self.turn_key(self.by_id(call.path["id"]), 0)
        return _done(material.reveal())

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        key = self.by_id(call.path["id"])
        self.delete(key)
        return _done({"id": key.id})

    def _status(self, key: Key) -> str:
        if key.disabled:
            return "disabled"
        return "expired" if key.expires_at is not None and key.expires_at <= self.clock() else "active"

    def _shown(self, key: Key) -> Mapping[str, Any]:
        told = {
            "id": key.id,
            "name": key.name,
            "status": self._status(key),
            "issued_on": stamp(key.created_at),
            "modified_on": stamp(key.created_at),
            "policies": key.more.get("policies", [POLICY]),
        }
        more = {
            "last_used_on": stamp(self.last_use(key)),
            "expires_on": stamp(key.expires_at),
            "condition": key.more.get("condition"),
        }
        return {**told, **{name: value for name, value in more.items() if value is not None}}


def _done(result: Any) -> Mapping[str, Any]:
    return {"success": True, "errors": [], "messages": [], "result": result}


def _policies(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """As they are kept. RefusedError 400 for a policy that is not as one is written: its id is Cloudflare's."""
    written = body.get("policies")
    if not isinstance(written, list) or not written:
        raise RefusedError(400, "policies are required", "1001")
    for policy in written:
        groups = policy.get("permission_groups")
        if policy.keys() != {"effect", "permission_groups", "resources"} or not all(group.get("id") for group in groups):
            raise RefusedError(400, "not a policy", "1001")
    return [{"id": secrets.token_hex(16), **policy} for policy in written]
