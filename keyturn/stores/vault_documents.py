"""Where VaultKV2 keeps the two documents of one value, and how they are read and written.

The *main* document, at the secret's own path, is what the proxies read and what LiteLLM expects: `{"key": "<value>"}` for
a whole secret (LiteLLM's own form), or a bundle of fields. Nothing of ours stands in it. The one *beside* it is at
`<staging_prefix>/<path>/<field>` (`_value` for a whole secret): see two_documents.

Notes are the custom metadata of that second document. It keeps no history: a discarded key does not linger in it.

Every write of a document names the number it was read at (KV v2's check-and-set). Facts of the API: Vault's page "KV
secrets engine - version 2 (API)", tried on OpenBao 2.7.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.errors import DeniedError, MisconfiguredError, NotFoundError
from keyturn.json_object import UnreadableError, inside
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.stores.two_documents import Beside, Main, crowded, parsed, printed
from keyturn.stores.vault_answers import custom_metadata, number_of
from keyturn.stores.vault_policy import WHOLE_NAME
from keyturn.vault.answer import Answer
from keyturn.vault.client import VaultClient

_WHOLE_FIELD = "key"  # where LiteLLM's own Vault reader looks
_EMPTY_NOTE = "(empty)"  # custom metadata refuses empty values; notes have no brackets in them


class Documents:
    """TwoDocuments in one engine. Each method is one or a few requests; what they add up to is StagedStore's business."""

    def __init__(self, vault: VaultClient, mount: str, staging_prefix: str) -> None:
        self._vault = vault
        self._mount = mount
        self._staging_prefix = staging_prefix

    def demand_fit(self, secret: SecretRef, material: KeyMaterial) -> None:
        """JSON carries every text."""

    async def main(self, secret: SecretRef) -> Main:
        answer = await self._vault.request("GET", self.main_path(secret))
        fields, metadata = answer.data.get("data"), answer.data.get("metadata")
        number, destroyed = number_of(metadata), bool(inside(metadata, "destroyed"))
        if answer.status == 200 and isinstance(fields, dict) and number:
            missing = None if field_of(secret) in fields else _no_field(secret)
            return Main(str(number), fields.get(field_of(secret)), missing, fields)
        await self.require_v2()
        if answer.status != 404:
            raise self._vault.not_vault()
        if number and (destroyed or inside(metadata, "deletion_time")):
            missing = NotFoundError(
                f"{secret}: its latest version, {number}, is {'destroyed' if destroyed else 'deleted'}",
                remedy="write the key that is in use there again"
                if destroyed
                else f"`vault kv undelete -mount={self._mount} -versions={number} {secret.path}`",
            )
            return Main(str(number), missing=missing, content={})
        missing = NotFoundError(
            f"{secret} does not exist",
            remedy=f"write the key in use there: `vault kv put -mount={self._mount} {secret.path} {field_of(secret)}=-`",
        )
        return Main("0", missing=missing, content={})

    async def beside(self, secret: SecretRef) -> Beside:
        answer = await self._vault.request("GET", self.beside_path(secret))
        # A deleted document has a number, too, which the next write has to name.
        number, document = number_of(answer.data.get("metadata")), answer.data.get("data")
        if answer.status == 404:
            return Beside(str(number or ""))
        if answer.status != 200 or not number:
            raise self._vault.not_vault()
        try:
            return parsed(document, str(number))
        except UnreadableError:
            raise MisconfiguredError(
                f"{self.beside_path(secret)} was changed by somebody else, and cannot be read",
                remedy="look what stands there, then delete that document: keyturn makes a new one",
            ) from None

    async def write_beside(self, secret: SecretRef, beside: Beside) -> str | None:
        if not beside.number:
            await self.make_beside(secret)
        return await self._write_data(self.beside_path(secret), beside.number or "0", printed(beside))

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> str | None:
        fields = {**main.content, field_of(secret): material.reveal()}
        return await self._write_data(self.main_path(secret), main.number, fields)

    async def touch_main(self, secret: SecretRef, main: Main) -> str | None:
        return await self._write_data(self.main_path(secret), main.number, main.content)

    async def make_beside(self, secret: SecretRef) -> None:
        """Have the second document's metadata. Repeated, it leaves the notes alone (an absent map is not changed)."""
        await self.require_v2()  # KV v1 would take the next line for a secret of that name
        await self._write(self.metadata_path(secret), {"max_versions": 1})

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Merged by the server (PATCH): read, merged here and written, they would take others' notes with them."""
        encoded = {key: (value or _EMPTY_NOTE) if value is not None else None for key, value in notes.items()}
        if await self._patch(secret, encoded):
            return
        await self.make_beside(secret)
        if not await self._patch(secret, encoded):
            raise crowded(secret)  # somebody deletes it while we write

    async def annotations(self, secret: SecretRef) -> dict[str, str]:
        answer = await self._vault.request("GET", self.metadata_path(secret))
        try:
            found = {} if answer.status == 404 else custom_metadata(answer.data)
        except UnreadableError:
            raise self._vault.not_vault() from None
        return {key: "" if value == _EMPTY_NOTE else value for key, value in found.items()}

    async def _write_data(self, path: str, number: str, fields: Mapping[str, Any]) -> str | None:
        answer = await self._write(path, {"options": {"cas": int(number)}, "data": fields})
        if answer.status == 400:
            return None
        if answer.status != 200 or number_of(answer.data) <= int(number):
            raise self._vault.not_vault()  # also a write that came back as a read
        return str(number_of(answer.data))

    async def _write(self, path: str, body: Mapping[str, Any]) -> Answer:
        answer = await self._vault.request("POST", path, body)
        if answer.status == 404:
            raise MisconfiguredError(f"{self._mount}/ is not there to be written to", remedy="check mount in keyturn.yaml")
        return answer

    async def _patch(self, secret: SecretRef, notes: Mapping[str, str | None]) -> bool:
        path, kind = self.metadata_path(secret), {"Content-Type": "application/merge-patch+json"}
        try:
            answer = await self._vault.request("PATCH", path, {"custom_metadata": notes}, kind)
        except MisconfiguredError:
            await self.require_v2()  # KV v1 knows no PATCH
            raise
        return answer.status != 404

    async def require_v2(self) -> None:
        """MisconfiguredError for anything but KV v2. The question is the one that `vault kv` asks."""
        try:
            answer = await self._vault.request("GET", f"sys/internal/ui/mounts/{self._mount}")
        except DeniedError:
            raise DeniedError(
                f"{self._mount}/ is no engine that this token may use",
                remedy="check mount in keyturn.yaml, and that the token's policy names paths in it",
            ) from None
        if answer.data.get("type") != "kv" or inside(answer.data, "options", "version") != "2":
            raise MisconfiguredError(
                f"{self._mount}/ is not a KV v2 engine: without versions there is no check-and-set",
                remedy=f"`vault kv enable-versioning {self._mount}` makes a KV v1 engine one, or name another mount",
            )

    def main_path(self, secret: SecretRef) -> str:
        return self._path("data", secret.path)

    def beside_path(self, secret: SecretRef) -> str:
        return self._path("data", f"{self._staging_prefix}/{secret.path}/{secret.field or WHOLE_NAME}")

    def metadata_path(self, secret: SecretRef) -> str:
        return self._path("metadata", f"{self._staging_prefix}/{secret.path}/{secret.field or WHOLE_NAME}")

    def _path(self, kind: str, path: str) -> str:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise MisconfiguredError(f"{path} is no path in Vault", remedy="use names joined by single slashes")
        return f"{self._mount}/{kind}/{path}"


def field_of(secret: SecretRef) -> str:
    return secret.field or _WHOLE_FIELD


def _no_field(secret: SecretRef) -> NotFoundError:
    return NotFoundError(f"{secret}: the secret has no field {field_of(secret)}", remedy="write the key in use there first")
