"""A store in this process's memory: for tests and models of the lifecycle. It holds nothing beyond the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, HeldKey, SecretRef, Stage, VersionRef, meant

_NO_VALUE = ""  # in the place of a fingerprint, which has digits: equal to no value's


@dataclass
class _Beside:
    """What is kept beside one value.

    `issued`: every token ever used here, with the version that was staged under it. `barred`: what is never promoted.
    """

    pending: HeldKey | None = None
    previous: HeldKey | None = None
    barred: frozenset[VersionRef] = frozenset()
    issued: dict[str, VersionRef] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class MemoryStore:
    """A SecretStore over a dict.

    `documents` is what consumers read and operators write: path -> text (a whole secret) or fields (a bundle). Give
    several stores the same MemoryStore object to have several workers. No verb awaits anything, so each is atomic.
    """

    def __init__(self, documents: dict[str, str | dict[str, Any]] | None = None) -> None:
        self.documents: dict[str, str | dict[str, Any]] = {} if documents is None else documents
        self._beside: dict[tuple[str, str | None], _Beside] = {}

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        try:
            self._current(secret)
        except NotFoundError as error:
            return [Finding(f"{secret} exists", False, error.message, error.remedy)]
        return [Finding(f"{secret} exists", True)]

    async def stages(self, secret: SecretRef) -> Mapping[Stage, VersionRef]:
        return {stage: held.version for stage, held in self._held(secret).items()}

    async def current(self, secret: SecretRef) -> HeldKey:
        return self._current(secret)

    async def create(self, secret: SecretRef, material: KeyMaterial) -> VersionRef:
        with suppress(NotFoundError):
            if (current := self._current(secret)).material != material:
                raise ConflictError(f"{secret} holds another value already", remedy="look who wrote it")
            return current.version
        if secret.field is not None:
            bundle = self.documents.setdefault(secret.path, {})
            if not isinstance(bundle, dict):
                raise ConflictError(f"{secret}: there is a whole secret of that name", remedy="choose another path")
            bundle[secret.field] = material.reveal()
        else:
            self.documents[secret.path] = material.reveal()
        return self._current(secret).version

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str) -> VersionRef:
        held = self._held(secret)
        beside, version = self._at(secret), VersionRef(token, material.fingerprint())
        if token in beside.issued:
            if beside.issued[token] == version and version in [key.version for key in held.values()]:
                return version
            raise ConflictError(f"{secret}: this token is spent", remedy="stage under a new token")
        beside.issued[token] = version
        beside.pending = HeldKey(version, material)
        return version

    async def spend(self, secret: SecretRef, token: str) -> None:
        self._current(secret)
        self._at(secret).issued.setdefault(token, VersionRef(token, _NO_VALUE))

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        held = self._held(secret)
        current = held[Stage.CURRENT]
        if current.version == version:
            return
        if current.version != replacing:
            raise ConflictError(f"{secret} was changed meanwhile", remedy="look who changed it, then rotate anew")
        beside = self._at(secret)
        if version in beside.barred:
            raise ConflictError(f"{secret}: the version to promote is barred", remedy="its key is being revoked: rotate")
        key = meant(held, version)
        if key is None:
            raise ConflictError(f"{secret}: the version to promote is held by no stage")
        self._write(secret, key.material)
        beside.previous = current
        beside.barred -= {current.version}
        if key is held.get(Stage.PENDING):
            beside.pending = None

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        if self._current(secret).version == version:
            raise ConflictError(f"{secret}: this version is CURRENT, and is not barred")
        held, beside = {key.version for key in self._held(secret).values()}, self._at(secret)
        if version in held:
            beside.barred = beside.barred & held | {version}

    async def read(self, secret: SecretRef, version: VersionRef) -> KeyMaterial:
        for held in self._held(secret).values():
            if held.version == version:
                return held.material
        raise NotFoundError(f"{secret}: no stage holds this version")

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        if self._current(secret).version == version:
            raise ConflictError(f"{secret}: this version is CURRENT, and is not discarded")
        beside = self._at(secret)
        if beside.pending and beside.pending.version == version:
            beside.pending = None
        if beside.previous and beside.previous.version == version:
            beside.previous = None

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        merged = {**self._at(secret).notes, **notes}
        self._at(secret).notes = {key: value for key, value in merged.items() if value is not None}

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        return dict(self._at(secret).notes)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _at(self, secret: SecretRef) -> _Beside:
        return self._beside.setdefault((secret.path, secret.field), _Beside())

    def _current(self, secret: SecretRef) -> HeldKey:
        text: Any = self.documents.get(secret.path)
        if secret.field is not None:
            text = text.get(secret.field) if isinstance(text, dict) else None
        if not isinstance(text, str):
            raise NotFoundError(f"{secret} does not exist", remedy="write the key that is in use there first")
        material = KeyMaterial(text)
        fingerprint = material.fingerprint()
        tokens = [token for token, version in self._at(secret).issued.items() if version.fingerprint == fingerprint]
        return HeldKey(VersionRef(tokens[-1] if tokens else f"by-hand-{fingerprint}", fingerprint), material)

    def _held(self, secret: SecretRef) -> dict[Stage, HeldKey]:
        current, beside = self._current(secret), self._at(secret)
        others = {Stage.PENDING: beside.pending, Stage.PREVIOUS: beside.previous}
        held = {stage: key for stage, key in others.items() if key is not None and key.version != current.version}
        return {Stage.CURRENT: current, **held}

    def _write(self, secret: SecretRef, material: KeyMaterial) -> None:
        document = self.documents[secret.path]
        if isinstance(document, dict) and secret.field is not None:
            document[secret.field] = material.reveal()
        else:
            self.documents[secret.path] = material.reveal()
