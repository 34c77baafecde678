"""CURRENT out of Vault or OpenBao, KV version 2: one login, and one request for each secret.

Paths, headers and answers as keyturn.stores.vault_documents reads them; a test holds the two against each other.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.plain import Settings
from keyturn.delivery.lean.plan import Secret
from keyturn.delivery.lean.references import resolved
from keyturn.delivery.lean.wire import Wire
from keyturn.json_object import inside
from keyturn.material import KeyMaterial

_POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  # where it is, not what it is
_WHOLE_FIELD = "key"  # where LiteLLM's own Vault reader looks


class VaultReader:
    """A context manager: one Vault with one login. Needs `read` on the secret. Declined for all that is not plain."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = Wire(settings["address"], settings.get("ca_file"))
        self._headers = {"X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if "namespace" in settings:
            self._headers["X-Vault-Namespace"] = settings["namespace"]
        self._token: KeyMaterial | None = None
        self._read: dict[str, tuple[str, dict[str, Any]]] = {}

    def __enter__(self) -> VaultReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.__exit__(None, None, None)

    def current(self, secret: Secret) -> tuple[str, KeyMaterial]:
        """The version's number, and the key."""
        if secret.path not in self._read:
            self._read[secret.path] = self._document(secret.path)
        number, fields = self._read[secret.path]
        value = fields.get(secret.field or _WHOLE_FIELD)
        if not isinstance(value, str):
            raise Declined
        return number, KeyMaterial(value)

    def _document(self, path: str) -> tuple[str, dict[str, Any]]:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise Declined
        if self._token is None:
            self._token = self._login()
        headers = {**self._headers, "X-Vault-Token": self._token.reveal()}
        answer = self._wire.ask("GET", f"/v1/{quote(self._settings.get('mount', 'secret') + '/data/' + path)}", headers)
        fields, number = inside(answer, "data", "data"), inside(answer, "data", "metadata", "version")
        if answer.get("errors") or not isinstance(fields, dict) or type(number) is not int or number < 1:
            raise Declined
        return str(number), fields

    def _login(self) -> KeyMaterial:
        auth = self._settings["auth"]
        if auth["method"] == "token":
            return resolved(auth["token"])
        method, mount = auth["method"], auth.get("mount", auth["method"])
        if method == "approle":
            sent = {"role_id": resolved(auth["role_id"]).reveal(), "secret_id": resolved(auth["secret_id"]).reveal()}
        else:
            reference = f"file:{auth.get('token_file', _POD_TOKEN)}" if method == "kubernetes" else auth["token"]
            sent = {"role": auth["role"], "jwt": resolved(reference).reveal()}
        body = json.dumps(sent).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        answer = self._wire.ask("POST", f"/v1/auth/{quote(mount)}/login", headers, body)
        token = inside(answer, "auth", "client_token")
        if answer.get("errors") or not isinstance(token, str):
            raise Declined
        return KeyMaterial(token)
