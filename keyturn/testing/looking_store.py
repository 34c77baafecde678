"""A store in memory that gives one look (see OneLook), and is as careless with an old one as the port lets it be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Look, SecretRef, Stage, VersionRef, meant
from keyturn.ports import APART
from keyturn.stores.memory import MemoryStore


@dataclass(frozen=True)
class _Moment:
    """What a swap compares: the value of CURRENT, and how often a promote, a bar or a discard has been since the start."""

    current: HeldKey
    fences: int
    barred: frozenset[VersionRef]


class LookingStore(MemoryStore):
    """As AWS: a swap succeeds on an old look unless CURRENT has moved, or was fenced; a value that was staged over the one
    it promotes does not stop it. Notes are written whole, on those of the look, but for those that are APART."""

    def __init__(self, documents: dict[str, str | dict[str, object]] | None = None) -> None:
        super().__init__(documents)
        self._fences: dict[SecretRef, int] = {}

    async def look(self, secret: SecretRef) -> Look:
        held = self._held(secret)
        moment = _Moment(held[Stage.CURRENT], self._fences.get(secret, 0), self._at(secret).barred)
        return Look(held, dict(self._at(secret).notes), moment)

    async def stage(self, secret: SecretRef, material: KeyMaterial, token: str, seen: Look | None = None) -> VersionRef:
        return await super().stage(secret, material, token)

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        await super().promote(secret, version, replacing)
        self._fence(secret)

    async def bar(self, secret: SecretRef, version: VersionRef) -> None:
        await super().bar(secret, version)
        self._fence(secret)

    async def discard(self, secret: SecretRef, version: VersionRef) -> None:
        await super().discard(secret, version)
        self._fence(secret)

    async def swap(self, secret: SecretRef, version: VersionRef, seen: Look) -> Look | None:
        moment = seen.world
        if not isinstance(moment, _Moment):
            return None
        key = meant(seen.held, version)
        if key is None or version in moment.barred:
            raise ConflictError(f"{secret}: the version to promote is held by no stage, or barred")
        now = self._current(secret)
        if (now.version, self._fences.get(secret, 0)) != (moment.current.version, moment.fences):
            return None
        beside = self._at(secret)
        self._write(secret, key.material)
        beside.previous = now
        beside.barred -= {now.version}
        if beside.pending is not None and beside.pending.version.id == key.version.id:
            beside.pending = None
        self._fence(secret)
        others = {stage: held for stage, held in seen.held.items() if held.version not in (version, now.version)}
        return Look({**others, Stage.CURRENT: key, Stage.PREVIOUS: now}, seen.notes, moment)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None], seen: Look | None = None) -> None:
        if seen is not None:
            there = [name for name in self._at(secret).notes if not name.startswith(APART)]
            whole = {name: text for name, text in seen.notes.items() if not name.startswith(APART)}
            notes = {**dict.fromkeys(there), **whole, **notes}
        await super().annotate(secret, notes)

    def _fence(self, secret: SecretRef) -> None:
        self._fences[secret] = self._fences.get(secret, 0) + 1
