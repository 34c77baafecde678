"""The two documents in which VaultKV2 keeps one value: what they look like, how they are read and written.

The *main* document, at the secret's own path, is what the proxies read and what LiteLLM expects: `{"key": "<value>"}` for
a whole secret (LiteLLM's own form), or a bundle of fields. Nothing of ours stands in it. What is not served stands
*beside* it, at `<staging_prefix>/<path>/<field>` (`_value` for a whole secret):

    {"pending":   {"token": ..., "value": ...},   staged, not served
     "previous":  {"token": ..., "value": ...},   served before
     "displaced": {"token": ..., "value": ...},   what was CURRENT when a promote began
     "barred":    [fingerprint, ...],             values that are never promoted
     "issued":    [[token, fingerprint], ...]}    the last tokens that were used here, the oldest first

A token is used once. One that was spent without a value has "" for a fingerprint, which is no value's. Of them `_REMEMBERED`
are kept: a token is forgotten, and could be staged under, once so many newer ones were staged or spent at this value. They
are a list because Vault sorts the names in a mapping.

A barred value stays so at least while any stage holds it, and until a promote has displaced it from CURRENT, where only a
person's hand can have put it.

Notes are the custom metadata of that second document. It keeps no history: a discarded key does not linger in it.

Every write of a document names the number it was read at (KV v2's check-and-set). Facts of the API: Vault's page "KV
secrets engine - version 2 (API)", tried on OpenBao 2.7.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from keyturn.errors import DeniedError, MisconfiguredError, NotFoundError, UnavailableError
from keyturn.json_object import UnreadableError, inside, mapping
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef
from keyturn.stores.vault_answers import custom_metadata, held_key, names, number_of, pairs
from keyturn.vault.answer import Answer
from keyturn.vault.client import VaultClient

TRIES = 40  # against other writers of the same bundle: one of them succeeds in each round
_REMEMBERED = 50  # tokens
_NO_VALUE = ""
_WHOLE_FIELD = "key"  # where LiteLLM's own Vault reader looks
_WHOLE_NAME = "_value"
_EMPTY_NOTE = "(empty)"  # custom metadata refuses empty values; notes have no brackets in them


@dataclass(frozen=True, slots=True)
class Main:
    """The main document as it was read. `number`: its version, which a write has to name."""

    number: int
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Beside:
    """The document beside it. `number` 0: there is none yet. `issued`: token -> fingerprint, the oldest first.

    `barred`: fingerprints.
    """

    number: int = 0
    pending: HeldKey | None = None
    previous: HeldKey | None = None
    displaced: HeldKey | None = None
    barred: frozenset[str] = frozenset()
    issued: Mapping[str, str] = field(default_factory=dict)

    def settled(self, current: HeldKey) -> Beside:
        """The same state, said without what is over."""
        pending = None if self.pending and self.pending.version == current.version else self.pending
        if self.displaced and self.displaced.version != current.version:
            freed = self.barred - {self.displaced.version.fingerprint}
            return replace(self, pending=pending, previous=self.displaced, displaced=None, barred=freed)
        return replace(self, pending=pending)

    def having_issued(self, token: str, fingerprint: str = _NO_VALUE) -> Beside:
        """The same state, and a token that is used from now on."""
        return replace(self, issued=dict([*self.issued.items(), (token, fingerprint)][-_REMEMBERED:]))

    def without(self, version: VersionRef) -> Beside:
        pending = None if self.pending and self.pending.version == version else self.pending
        previous = None if self.previous and self.previous.version == version else self.previous
        return replace(self, pending=pending, previous=previous, displaced=None)


@dataclass(frozen=True, slots=True)
class Seen:
    """Both documents at one instant, and what they mean. `beside` is settled; `promoting`: a promote may be under way."""

    main: Main
    current: HeldKey
    beside: Beside
    raw: Beside

    @property
    def promoting(self) -> bool:
        return self.beside.displaced is not None

    @property
    def held(self) -> dict[Stage, HeldKey]:
        others = {Stage.PENDING: self.beside.pending, Stage.PREVIOUS: self.beside.previous}
        listed = {stage: key for stage, key in others.items() if key and key.version != self.current.version}
        return {Stage.CURRENT: self.current, **listed}

    def find(self, version: VersionRef) -> HeldKey | None:
        return next((key for key in self.held.values() if key.version == version), None)

    def barring(self, version: VersionRef) -> Beside:
        """The same state, and a version that is barred from now on, beside those that are and that a stage holds."""
        held = {key.version.fingerprint for key in self.held.values()}
        return replace(self.beside, barred=self.beside.barred & held | {version.fingerprint})


class Documents:
    """Reads and writes them. Each method is one or a few requests; what they add up to is VaultKV2's business."""

    def __init__(self, vault: VaultClient, mount: str, staging_prefix: str) -> None:
        self._vault = vault
        self._mount = mount
        self._staging_prefix = staging_prefix

    async def look(self, secret: SecretRef) -> Seen:
        """Both documents at one instant: the main one did not move while the other was read."""
        main = await self.main(secret)
        for _ in range(TRIES):
            raw = await self.beside(secret)
            again = await self.main(secret)
            if again.number == main.number:
                current = current_of(secret, again, raw.issued)
                return Seen(again, current, raw.settled(current), raw)
            main = again
        raise crowded(secret)

    async def current(self, secret: SecretRef) -> HeldKey:
        return current_of(secret, await self.main(secret))

    async def main(self, secret: SecretRef) -> Main:
        answer = await self._vault.request("GET", self.main_path(secret))
        fields, metadata = answer.data.get("data"), answer.data.get("metadata")
        number, destroyed = number_of(metadata), bool(inside(metadata, "destroyed"))
        if answer.status == 200 and isinstance(fields, dict) and number:
            return Main(number, fields)
        await self.require_v2()
        if answer.status != 404:
            raise self._vault.not_vault()
        if number and (destroyed or inside(metadata, "deletion_time")):
            raise NotFoundError(
                f"{secret}: its latest version, {number}, is {'destroyed' if destroyed else 'deleted'}",
                remedy="write the key that is in use there again"
                if destroyed
                else f"`vault kv undelete -mount={self._mount} -versions={number} {secret.path}`",
            )
        raise NotFoundError(
            f"{secret} does not exist",
            remedy=f"write the key in use there: `vault kv put -mount={self._mount} {secret.path} {field_of(secret)}=-`",
        )

    async def beside(self, secret: SecretRef) -> Beside:
        answer = await self._vault.request("GET", self.beside_path(secret))
        # A deleted document has a number, too, which the next write has to name.
        number, document = number_of(answer.data.get("metadata")), answer.data.get("data")
        if answer.status == 404:
            return Beside(number)
        if answer.status != 200 or not number:
            raise self._vault.not_vault()
        try:
            written = mapping(document)
            slots = {name: held_key(written[name]) for name in ("pending", "previous", "displaced") if name in written}
            issued, barred = pairs(written.get("issued")), names(written.get("barred", []))
            return Beside(number=number, issued=issued, barred=barred, **slots)
        except UnreadableError:
            raise MisconfiguredError(
                f"{self.beside_path(secret)} was changed by somebody else, and cannot be read",
                remedy="look what stands there, then delete that document: keyturn makes a new one",
            ) from None

    async def write_beside(self, secret: SecretRef, beside: Beside) -> int | None:
        """The number it got; None: somebody was faster."""
        if beside.number == 0:
            await self.make_beside(secret)
        slots = {"pending": beside.pending, "previous": beside.previous, "displaced": beside.displaced}
        document: dict[str, Any] = {name: _slot(key) for name, key in slots.items() if key}
        document["barred"] = sorted(beside.barred)
        document["issued"] = [list(pair) for pair in beside.issued.items()]
        return await self._write_data(self.beside_path(secret), beside.number, document)

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> bool:
        fields = {**main.fields, field_of(secret): material.reveal()}
        return await self._write_data(self.main_path(secret), main.number, fields) is not None

    async def touch_main(self, secret: SecretRef, main: Main) -> bool:
        """Write it as it is: nothing changes but its number. False: it has moved already."""
        return await self._write_data(self.main_path(secret), main.number, main.fields) is not None

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

    async def _write_data(self, path: str, number: int, fields: Mapping[str, Any]) -> int | None:
        answer = await self._write(path, {"options": {"cas": number}, "data": fields})
        if answer.status == 400:
            return None
        if answer.status != 200 or number_of(answer.data) <= number:
            raise self._vault.not_vault()  # also a write that came back as a read
        return number_of(answer.data)

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
        return self._path("data", f"{self._staging_prefix}/{secret.path}/{secret.field or _WHOLE_NAME}")

    def metadata_path(self, secret: SecretRef) -> str:
        return self._path("metadata", f"{self._staging_prefix}/{secret.path}/{secret.field or _WHOLE_NAME}")

    def _path(self, kind: str, path: str) -> str:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise MisconfiguredError(f"{path} is no path in Vault", remedy="use names joined by single slashes")
        return f"{self._mount}/{kind}/{path}"


def field_of(secret: SecretRef) -> str:
    return secret.field or _WHOLE_FIELD


def current_of(secret: SecretRef, main: Main, issued: Mapping[str, str] = MappingProxyType({})) -> HeldKey:
    """Its version is named by the token it was staged under, where that is known, else by the document's number."""
    if field_of(secret) not in main.fields:
        raise NotFoundError(
            f"{secret}: the secret has no field {field_of(secret)}", remedy="write the key in use there first"
        )
    try:
        material = KeyMaterial(main.fields[field_of(secret)])
    except (TypeError, ValueError) as error:
        raise MisconfiguredError(
            f"{secret} holds no usable key: {error}", remedy="write the key that is in use there again, as plain text"
        ) from None
    fingerprint = material.fingerprint()
    tokens = [token for token, known in issued.items() if known == fingerprint]
    return HeldKey(VersionRef(tokens[-1] if tokens else str(main.number), fingerprint), material)


def _slot(key: HeldKey) -> dict[str, str]:
    return {"token": key.version.id, "value": key.material.reveal()}


def crowded(secret: SecretRef) -> UnavailableError:
    return UnavailableError(f"{secret} is being written by too many at once", remedy="try again later")
