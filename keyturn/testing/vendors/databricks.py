"""Databricks after its SDK: the secrets of a service principal at the account, and tokens on behalf of one in a workspace.

Control: see keyturn.testing.vendors.service.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, stamp
from keyturn.testing.vendors.tokens import TokenSimulator

ACCOUNT = "0d26daa6-5e44-4c97-a497-ef015f91254a"
SERVICE_PRINCIPAL = "3141592653589793"
APPLICATION = "7f3c0e2a-19b4-4d5e-8c6f-2b1a0d9e8f7c"  # the same, as OAuth names it
CLIENT = "c0ffee00-1111-4222-8333-444455556666"  # the management's
_SECRETS = f"/api/2.0/accounts/{ACCOUNT}/servicePrincipals/{SERVICE_PRINCIPAL}/credentials/secrets"
_OIDC = f"/oidc/accounts/{ACCOUNT}"
_TOKENS = "/api/2.0/token-management"
_DAY = 86400


def _refusal(status: int, message: str, code: str = "") -> Response:
    return JSONResponse({"error_code": code or f"HTTP_{status}", "message": message}, status)


class DatabricksSecretsSimulator(TokenSimulator):
    """The account. A page has two secrets, so that five are more than one."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI databricks-sdk 0.156.0", "tests/providers/test_databricks.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("metadata", "open", "GET", "/.well-known/databricks-config"),
        Route("endpoints", "open", "GET", f"{_OIDC}/.well-known/oauth-authorization-server"),
        Route("issue_token", "key", "POST", f"{_OIDC}/v1/token", body=("grant_type", "scope")),
        Route("list_keys", "admin", "GET", _SECRETS, query=("page_size", "page_token")),
        Route("create_key", "admin", "POST", _SECRETS, body=("lifetime", "scopes")),
        Route("delete_key", "admin", "DELETE", f"{_SECRETS}/{{id}}"),
    )
    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "list", "delete"}),)
    most = 5

    def text(self, literal: str) -> str:
        return f"dose{literal}{secrets.token_hex(16)}"

    def key_of(self, request: Request) -> str:
        """The password of HTTP Basic, where it is that of the client who bears it."""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = b64decode(told if scheme == "Basic" else "").decode().partition(":")
        except (binascii.Error, ValueError):
            return ""
        is_admin = bool(password) and KeyMaterial(password).fingerprint() == self.admin_fingerprint
        return password if user == (CLIENT if is_admin else APPLICATION) else ""

    def error(self, status: int, message: str, code: str = "") -> Response:
        return _refusal(status, message, code)

    def rejected(self, group: str) -> Response:
        if group == "key":
            told = {"error": "invalid_client", "error_description": "Client authentication failed"}
            return JSONResponse(told, 401)
        return self.error(401, "Credential was not sent or was of an unsupported type for this API.", "UNAUTHENTICATED")

    async def metadata(self, call: Call) -> Mapping[str, Any]:
        base = str(call.request.base_url).rstrip("/")
        return {"oidc_endpoint": f"{base}/oidc/accounts/{{account_id}}", "account_id": ACCOUNT}

    async def endpoints(self, call: Call) -> Mapping[str, Any]:
        at = f"{str(call.request.base_url).rstrip('/')}{_OIDC}/v1"
        return {"authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token"}

    async def issue_token(self, call: Call) -> Mapping[str, Any]:
        if call.body.get("grant_type") != "client_credentials" or call.body.get("scope") != "all-apis":
            raise RefusedError(400, "an unsupported grant", "unsupported_grant_type")
        return await super().issue_token(call)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        start, shown = int(call.query.get("page_token", "0")), self.live()
        here = [self._shown(key) for key in shown[start : start + 2]]
        more = {"next_page_token": str(start + 2)} if start + 2 < len(shown) else {}
        return {**({"secrets": here} if here else {}), **more}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        lifetime = re.fullmatch(r"([0-9]+)s", call.body.get("lifetime", f"{730 * _DAY}s"))
        if lifetime is None:
            raise RefusedError(400, "lifetime is no duration", "INVALID_PARAMETER_VALUE")
        if len(self.live()) >= self.most:
            raise RefusedError(400, "too many secrets", "RESOURCE_EXHAUSTED")
        key, material = self.add_key("", expires_at=self.clock() + int(lifetime.group(1)))
        return {**self._shown(key), "secret": material.reveal()}

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self.delete(self.by_id(call.path["id"]))
        return {}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        """Without the name that a test has given it: a secret has none."""
        more = {"expire_time": stamp(key.expires_at)} if key.expires_at else {}
        return {
            "id": key.id,
            "secret_hash": hashlib.sha256(key.id.encode()).hexdigest(),
            "status": "ACTIVE",
            "create_time": stamp(key.created_at),
            "update_time": stamp(key.created_at),
            **more,
        }


class DatabricksTokensSimulator(Simulator):
    """A workspace."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(By.SDK, "PyPI databricks-sdk 0.156.0", "tests/providers/test_databricks.py")
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("me", "key", "GET", "/api/2.0/preview/scim/v2/Me"),
        Route("list_keys", "admin", "GET", f"{_TOKENS}/tokens", query=("created_by_id", "created_by_username")),
        Route(
            "create_key",
            "admin",
            "POST",
            f"{_TOKENS}/on-behalf-of/tokens",
            body=("application_id", "comment", "lifetime_seconds", "scopes", "autoscope_enabled"),
        ),
        Route("get_key", "admin", "GET", f"{_TOKENS}/tokens/{{id}}"),
        Route("delete_key", "admin", "DELETE", f"{_TOKENS}/tokens/{{id}}"),
    )

    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "list", "delete"}),)

    def text(self, literal: str) -> str:
        return f"dapi{literal}{secrets.token_hex(16)}"

    def error(self, status: int, message: str, code: str = "") -> Response:
        return _refusal(status, message, code)

    def rejected(self, group: str) -> Response:
        return self.error(403, "Invalid access token.", "PERMISSION_DENIED")

    def new_id(self) -> str:
        return hashlib.sha256(super().new_id().encode()).hexdigest()

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        is_admin = caller is not None and caller.fingerprint() == self.admin_fingerprint
        return (is_admin and route.operation == "me") or super()._may(route, caller, key)

    async def me(self, call: Call) -> Mapping[str, Any]:
        if not self.is_admin(call.request):
            return {"id": SERVICE_PRINCIPAL, "userName": APPLICATION, "active": True}
        groups = [] if self.lacks("create") else [{"display": "admins", "type": "direct", "value": "1"}]
        return {"id": "2718281828", "userName": "admin@example.com", "active": True, "groups": groups}

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        shown = [self._shown(key) for key in reversed(self.live())]
        return {"token_infos": shown} if shown else {}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        if call.body.get("application_id") != APPLICATION:
            raise RefusedError(404, "no such service principal", "RESOURCE_DOES_NOT_EXIST")
        until = self.clock() + call.body.get("lifetime_seconds", 730 * _DAY)
        key, material = self.add_key(call.body.get("comment", ""), expires_at=until)
        return {"token_value": material.reveal(), "token_info": self._shown(key)}

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        return {"token_info": self._shown(self.by_id(call.path["id"]))}

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self.delete(self.by_id(call.path["id"]))
        return {}

    def _shown(self, key: Key) -> Mapping[str, Any]:
        used = self.last_use(key)
        day = {"last_used_day": int(used // _DAY * _DAY * 1000)} if used is not None else {}
        return {
            "token_id": key.id,
            "creation_time": int(key.created_at * 1000),
            "expiry_time": -1 if key.expires_at is None else int(key.expires_at * 1000),
            "comment": key.name,
            "created_by_id": 2718281828,
            "created_by_username": "admin@example.com",
            "owner_id": int(SERVICE_PRINCIPAL),
            **day,
        }
