"""A model of KV v2 that takes one request at a time. test_vault_kv2 shows that a real server behaves like it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.vault.answer import Answer
from tests.stores.orders import Turn
from tests.stores.staged_scene import FIELD, OLDER, SECRET, Backend, Server

MAIN = f"secret/data/{SECRET.path}"
BESIDE = f"secret/data/keyturn/{SECRET.path}/{FIELD}"
SETTINGS = VaultKV2.Settings.model_validate(
    {"address": "http://127.0.0.1:8200", "auth": {"method": "token", "token": "env:UNUSED"}}
)


class KV2(Server):
    """KV v2, as far as the store uses it: numbered documents, and writes that name the number they replace.

    What is read has its names sorted, as Vault does it. Notes are taken, and forgotten.
    """

    other = "kept"

    def __init__(self, documents: Mapping[str, tuple[int, dict[str, Any]]] | None = None) -> None:
        self.documents = dict(documents or {})

    def copy(self) -> Self:
        return type(self)(self.documents)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        if path.startswith("sys/internal/ui/mounts/"):
            return Answer(200, {"data": {"type": "kv", "options": {"version": "2"}}})
        if "/metadata/" in path:
            return Answer(204, {})
        number, fields = self.documents.get(path, (0, {}))
        if method == "GET":
            return Answer(200, {"data": {"data": fields, "metadata": {"version": number}}}) if number else Answer(404, {})
        if body["options"]["cas"] != number:
            return Answer(400, {})
        self._write(path, json.loads(json.dumps(body["data"], sort_keys=True)))
        return Answer(200, {"data": {"version": number + 1}})

    def fields(self, path: str = SECRET.path) -> Mapping[str, str]:
        return self.documents.get(f"secret/data/{path}", (0, {}))[1]

    def set_field(self, name: str, value: str) -> None:
        self._write(MAIN, {**self.documents[MAIN][1], name: value})

    @property
    def beside(self) -> dict[str, Any]:
        return self.documents.get(BESIDE, (0, {}))[1]

    def set_beside(self, state: Mapping[str, Any]) -> None:
        self._write(BESIDE, dict(state))

    def _write(self, path: str, fields: dict[str, Any]) -> None:
        self._view = None
        self.documents[path] = (self.documents.get(path, (0, {}))[0] + 1, fields)


class Client:
    """In the place of VaultClient: waits for its turn before each request."""

    server: KV2

    def __init__(self, settings: object, resolve: object) -> None:
        self.server = Client.server

    async def request(self, method: str, path: str, body: Any = None, headers: object = None) -> Answer:
        await Turn()
        return self.server.answer(method, path, body)


VAULT = Backend(
    name="vault",
    replaced="keyturn.stores.vault_kv2.VaultClient",
    client=Client,
    make=lambda: VaultKV2(SETTINGS, resolver(environ={})),
    bare=lambda: KV2({MAIN: (1, {FIELD: OLDER.reveal(), "OTHER": KV2.other})}),
    switches=4,
)
