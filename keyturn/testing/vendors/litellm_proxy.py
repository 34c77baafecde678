"""A LiteLLM proxy with a database, as far as its virtual keys go. Control: see keyturn.testing.vendors.service."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, stamp

_LIST = ("page", "size", "return_full_object", "team_id", "key_alias", "key_hash", "status", "sort_by", "sort_order")
_MADE = ("key_alias", "duration", "models", "team_id", "max_budget", "metadata", "key_type", "key")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TYPES = {"default": [], "llm_api": ["llm_api_routes"], "management": ["management_routes"], "read_only": ["info_routes"]}


class LiteLLMProxySimulator(Simulator):
    """See the module's text."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK, "PyPI litellm 1.106.2: its own models and its own errors", "tests/providers/test_litellm_proxy.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", "/key/list", query=_LIST),
        Route("create_key", "admin", "POST", "/key/generate", body=_MADE),
        Route("get_key", "admin", "GET", "/key/info", query=("key",)),
        Route("block_key", "admin", "POST", "/key/block", body=("key",)),
        Route("unblock_key", "admin", "POST", "/key/unblock", body=("key",)),
        Route("delete_key", "admin", "POST", "/key/delete", body=("keys", "key_aliases")),
        Route("user", "admin", "GET", "/v2/user/info", query=("user_id",)),
        Route("models", "key", "GET", "/v1/models"),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        **Simulator.GIVES,
        "disable": frozenset({"block_key", "unblock_key"}),
    }
    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "delete", "disable"}),)

    def text(self, literal: str) -> str:
        return f"sk-{literal}{secrets.token_urlsafe(16)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        kind = code or "internal_server_error"
        return JSONResponse({"error": {"message": message, "type": kind, "param": "None", "code": str(status)}}, status)

    def rejected(self, group: str) -> Response:
        return self.error(401, "Authentication Error, Invalid proxy server token passed.", "token_not_found_in_db")

    def refused(self, group: str, key: Key | None) -> Response:
        if key is None or key.deleted:
            return self.rejected(group)
        if key.disabled:
            words = "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin."
            return self.error(401, words, "auth_error")
        return self.error(401, "Authentication Error - Expired Key.", "expired_key")

    def add_key(self, name: str, **more: Any) -> tuple[Key, KeyMaterial]:
        """A key's id is the SHA-256 of its text, and its hint the last four characters."""
        text = more.pop("text", None) or self.text(self.behaviour.key_literal)
        id = hashlib.sha256(text.encode()).hexdigest()
        key, material = super().add_key(name, text=text, id=id, **more)
        key.hint = f"sk-...{text[-4:]}"
        return key, material

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        page, size = int(call.query.get("page", "1")), int(call.query.get("size", "10"))
        if page < 1 or not 1 <= size <= 100:
            raise RefusedError(422, "page or size is out of bounds")
        team = call.query.get("team_id")
        shown = [key for key in reversed(self.live()) if team is None or key.owner == team]
        here = shown[(page - 1) * size : page * size]
        whole = call.query.get("return_full_object") == "true"
        return {
            "keys": [self._row(key) for key in here] if whole else [key.id for key in here],
            "total_count": len(shown),
            "current_page": page,
            "total_pages": -(-len(shown) // size),
        }

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        alias, lasts = call.body.get("key_alias"), call.body.get("duration")
        if alias is not None and any(key.name == alias for key in self.live()):
            raise RefusedError(400, f"Key with alias '{alias}' already exists.", "bad_request_error")
        expires_at = None if lasts is None else self.clock() + _seconds(lasts)
        kind = call.body.get("key_type", "default")
        if kind not in _TYPES:
            raise RefusedError(422, "key_type")
        key, material = self.add_key(
            alias or "",
            text=call.body.get("key"),
            owner=call.body.get("team_id") or "",
            expires_at=expires_at,
            models=call.body.get("models", []),
            max_budget=call.body.get("max_budget"),
            key_type=kind,
        )
        row = self._row(key)
        told = {name: row[name] for name in row.keys() - {"last_active", "org_id", "total_spend"}}
        return {**told, "key": material.reveal(), "token": material.reveal(), "token_id": key.id, "duration": lasts}

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        key = self._asked(call.query.get("key", ""), "Key not found in database")
        row = self._row(key)
        del row["token"]
        return {"key": call.query["key"], "info": row}

    async def block_key(self, call: Call) -> Mapping[str, Any]:
        return self._turn(call, True)

    async def unblock_key(self, call: Call) -> Mapping[str, Any]:
        return self._turn(call, False)

    def _turn(self, call: Call, blocked: bool) -> Mapping[str, Any]:
        key = self._asked(call.body.get("key", ""), "Key not found.")
        key.disabled = blocked
        return self._row(key)

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        asked = call.body.get("keys")
        if not asked:
            raise RefusedError(422, "At least one of 'keys' or 'key_aliases' must be provided.")
        found = [key for key in self.live() if key.id in {_hashed(each) for each in asked}]
        if not found:
            raise RefusedError(404, "{'error': 'No keys found'}")
        for key in found:
            self.delete(key)
        return {"deleted_keys": asked}

    async def user(self, call: Call) -> Mapping[str, Any]:
        """Who the management key is of: an admin viewer may list, and change nothing."""
        return {
            "user_id": "admin",
            "user_email": None,
            "user_alias": None,
            "user_role": "proxy_admin_viewer" if self.lacks("create") else "proxy_admin",
            "spend": 0.0,
            "models": [],
            "created_at": stamp(self.clock()),
        }

    async def models(self, call: Call) -> Mapping[str, Any]:
        named = (call.key.more.get("models") if call.key else None) or ["gpt-4o-mini"]
        data = [{"id": name, "object": "model", "created": 1677610602, "owned_by": "openai"} for name in named]
        return {"data": data, "object": "list"}

    def _asked(self, text: str, otherwise: str) -> Key:
        for key in self.live():
            if key.id == _hashed(text):
                return key
        raise RefusedError(404, otherwise, "not_found_error")

    def _row(self, key: Key) -> dict[str, Any]:
        """As LiteLLM keeps a key."""
        return {
            "token": key.id,
            "key_name": key.hint,
            "key_alias": key.name or None,
            "spend": 0.0,
            "total_spend": 0.0,
            "max_budget": key.more.get("max_budget"),
            "expires": stamp(key.expires_at),
            "models": key.more.get("models") or [],
            "user_id": "default_user_id",
            "team_id": key.owner or None,
            "org_id": None,
            "metadata": {},
            "allowed_routes": _TYPES[key.more.get("key_type", "default")],
            "key_type": key.more.get("key_type", "default"),
            "blocked": True if key.disabled else None,
            "created_at": stamp(key.created_at),
            "created_by": "default_user_id",
            "updated_at": stamp(key.created_at),
            "updated_by": "default_user_id",
            "last_active": stamp(self.last_use(key)),
        }


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text.startswith("sk-") else text


def _seconds(text: Any) -> int:
    found = re.fullmatch(r"([0-9]+)([smhdw])", text) if isinstance(text, str) else None
    if found is None:
        raise RefusedError(500, "{'error': 'Internal Server Error.'}")
    return int(found[1]) * _UNITS[found[2]]
