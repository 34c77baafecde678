"""One account of Azure Cognitive Services: its two keys, by Azure Resource Manager, and its inference endpoint.

After PyPI azure-mgmt-cognitiveservices 14.1.0. Control: see keyturn.testing.vendors.service.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator

SUBSCRIPTION, GROUP, ACCOUNT = "00000000-0000-0000-0000-000000000001", "group", "account"
_ACCOUNT = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}"
_KIND = "Microsoft.CognitiveServices"
_VERSION = ("api-version",)
_SLOTS = {"Key1": "key1", "Key2": "key2"}


class AzureSimulator(Simulator):
    """See the module's text. `local_auth_disabled`: the account takes no keys."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK, "PyPI azure-mgmt-cognitiveservices 14.1.0", "tests/providers/test_azure_openai.py"
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("get_account", "admin", "GET", _ACCOUNT, query=_VERSION),
        Route("list_keys", "admin", "POST", f"{_ACCOUNT}/listKeys", query=_VERSION, reads=True),
        Route(
            "tell_permissions", "admin", "GET", f"{_ACCOUNT}/providers/Microsoft.Authorization/permissions", query=_VERSION
        ),
        Route("create_key", "admin", "POST", f"{_ACCOUNT}/regenerateKey", query=_VERSION, body=("keyName",)),
        Route("models", "key", "GET", "/openai/models", query=_VERSION),
        Route("token", "open", "POST", "/{tenant}/oauth2/v2.0/token", body=None),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        "create": frozenset({"create_key"}),
        "list": frozenset({"list_keys"}),
        "delete": frozenset({"create_key"}),
    }
    TOGETHER: ClassVar[tuple[frozenset[str], ...]] = (frozenset({"create", "delete"}),)  # both are regenerateKey

    def __init__(self, admin: KeyMaterial, clock: Callable[[], float]) -> None:
        super().__init__(admin, clock)
        self.admin_text = admin
        self.local_auth_disabled = False
        self.slots: dict[str, KeyMaterial] = {}
        for slot in _SLOTS.values():
            self.fill(slot)

    def text(self, literal: str) -> str:
        return f"{literal}{secrets.token_hex(32)}"

    def key_of(self, request: Request) -> str:
        return request.headers.get("api-key", "")

    def error(self, status: int, message: str, code: str = "") -> Response:
        return JSONResponse({"error": {"code": code or str(status), "message": message}}, status)

    def fill(self, slot: str, text: str | None = None) -> tuple[Key, KeyMaterial]:
        """The slot holds another text from now on, and what it held is refused."""
        if slot in self.slots:
            self.delete(self.keys[self.slots[slot].fingerprint()])
        key, material = self.add_key(slot, text=text, at_once=True)
        self.slots[slot] = material
        return key, material

    async def get_account(self, call: Call) -> Mapping[str, Any]:
        self._demand(call)
        properties = {"provisioningState": "Succeeded", "disableLocalAuth": self.local_auth_disabled}
        return {
            "id": call.request.url.path,
            "name": ACCOUNT,
            "kind": "OpenAI",
            "location": "eastus",
            "properties": properties,
        }

    async def tell_permissions(self, call: Call) -> Mapping[str, Any]:
        """Two roles: one that reads, and one for keys, which is written as people write it."""
        self._demand(call)
        of_keys = f"{_KIND}/*/action"
        lacking = {"create": f"{_KIND}/accounts/REGENERATEKEY/action", "list": f"{_KIND}/accounts/listKeys/*"}
        less = [action for verb, action in lacking.items() if self.lacks(verb)]
        reader = {"actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": []}
        role = {"actions": [of_keys], "notActions": less, "dataActions": [], "notDataActions": []}
        return {"value": [reader, role]}

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        self._demand(call)
        return self._pair()

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        self._demand(call)
        slot = _SLOTS.get(call.body.get("keyName", ""))
        if slot is None:
            raise RefusedError(400, "keyName is Key1 or Key2", "InvalidKeyName")
        self.fill(slot)
        return self._pair()

    def _pair(self) -> Mapping[str, str]:
        return {slot: material.reveal() for slot, material in self.slots.items()}

    def _demand(self, call: Call) -> None:
        if not call.query.get("api-version"):
            raise RefusedError(400, "api-version is required", "MissingApiVersionParameter")
        if (call.path["subscription"], call.path["group"], call.path["account"]) != (SUBSCRIPTION, GROUP, ACCOUNT):
            raise RefusedError(404, "The resource was not found", "ResourceNotFound")

    async def models(self, call: Call) -> Mapping[str, Any]:
        return {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "status": "succeeded"}]}

    async def token(self, call: Call) -> Mapping[str, Any]:
        if call.body.get("client_secret") != self.admin_text.reveal():
            raise RefusedError(401, "AADSTS7000215: Invalid client secret provided", "invalid_client")
        return {"token_type": "Bearer", "expires_in": 3599, "access_token": self.admin_text.reveal()}
