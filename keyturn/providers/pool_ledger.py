"""The ledger of a pool: keys that people have made ahead, each a field of one bundle in a store, and who has taken which.

What a place says is its CURRENT value, so that every change of it is one compare-and-swap:

    the text of a key                  free
    keyturn-pool.claimed.LABEL....     taken by the rotation of that label; the key's text is PREVIOUS, and can be read again
    keyturn-pool.empty....             empty
    nothing                            empty, and was never used

Who swaps a key's text for a marker has the key, and nobody else has: another's swap of the same text fails. To put a key
back swaps PREVIOUS for the marker. A key that is about to be ended is barred first, so that it cannot be put back. To forget
it swaps the marker for one of emptiness, which drops the text in the same moment: PREVIOUS is the old marker then.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from keyturn.errors import ConflictError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, HeldKey, KeyRef, PoolEntry, SecretRef, Stage
from keyturn.ports import OneLook, SecretStore

_TRIES = 12  # against others who take and put back meanwhile
_CLAIMED, _EMPTY = "keyturn-pool.claimed", "keyturn-pool.empty"
_MARKER = re.compile(rf"(?:{_CLAIMED}\.(?P<label>[a-z0-9-]+)|{_EMPTY})\.(?P<at>[0-9]{{8}}T[0-9]{{6}}Z)\.[0-9a-f]{{16}}")
_NOTE = "pool_entry"
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Row:
    """A place as it was seen. `current`: None where it was never used. `key`: what it holds; None: it is empty.

    `label`: of whoever has taken it, since `at`.
    """

    ref: SecretRef
    current: HeldKey | None
    key: HeldKey | None
    label: str
    at: datetime | None
    added_at: datetime | None
    expires_at: datetime | None

    @property
    def place(self) -> str:
        return self.ref.field or ""

    @property
    def entry(self) -> PoolEntry:
        return PoolEntry(self.place, self.key_ref, self.added_at)

    @property
    def key_ref(self) -> KeyRef | None:
        if self.key is None:
            return None
        fingerprint, hint = self.key.version.fingerprint, self.key.material.last_four()
        created = self.at if self.label else self.added_at
        # Of the text alone: whatever place it is in, and whatever the vendor calls it, a journal's id for it is the same.
        return KeyRef(f"pool-{fingerprint}", self.label, hint, "", created, None, self.expires_at, fingerprint)

    def is_of(self, key: KeyRef) -> bool:
        """Whether this place holds that key, for the one who has taken it."""
        return self.key is not None and (self.label, self.key.version.fingerprint) == (key.name, key.fingerprint)


class PoolLedger:
    """`places`: the addresses of the pool's values. See the module's text."""

    def __init__(self, store: Callable[[], SecretStore], places: Sequence[SecretRef], now: Callable[[], datetime]) -> None:
        self._store, self._places, self._now = store, tuple(places), now

    async def rows(self) -> Sequence[Row]:
        """Every place, in order."""
        return await asyncio.gather(*(self._row(place) for place in self._places))

    async def take(self, label: str, may: Callable[[PoolEntry], bool], held: Collection[str]) -> CreatedKey:
        """As `Pooled.take`."""
        for _ in range(_TRIES):
            rows = await self.rows()
            for row in rows:
                if row.label == label and (taken := _created(row)) is not None:
                    return taken
            free = [row for row in rows if may(row.entry) and row.key and row.key.version.fingerprint not in held]
            if not free:
                remedy = "make keys in the vendor's console, and give them to `keyturn pool add`"
                raise NotFoundError("the pool has no free key", remedy=remedy)
            with suppress(ConflictError):  # somebody was faster: look again
                await self._swap(free[0], self._marker(f"{_CLAIMED}.{label}"))
        raise UnavailableError("too many take keys out of the pool at this moment")

    async def put_in(self, material: KeyMaterial, expires_at: datetime | None) -> PoolEntry:
        """As `Pooled.put_in`."""
        if _MARKER.fullmatch(_said(material)):
            raise ConflictError("that is no key: it is what the pool itself writes into its places")
        fingerprint, conflicts = material.fingerprint(), 0
        for _ in range(_TRIES):
            rows = await self.rows()
            for row in rows:
                if row.key is not None and row.key.version.fingerprint == fingerprint:
                    raise ConflictError(f"this key is in the pool already, as {row.place}")
            empty = [row for row in rows if row.key is None]
            if not empty:
                raise ConflictError(f"all {len(rows)} places of the pool are taken", remedy="set a larger size of the pool")
            row = empty[conflicts % len(empty)]  # where this very text was ended, it is barred for good
            try:
                if row.current is None:
                    await self._store().create(row.ref, self._marker(_EMPTY))
                    continue
                # Before it can be taken: one that ends soon is not.
                ends = f"{expires_at.astimezone(UTC):{_STAMP}}" if expires_at else "-"
                note = f"{fingerprint} {self._now():{_STAMP}} {ends}"
                await self._store().annotate(row.ref, {_NOTE: note})
                await self._swap(row, material)
                return (await self._row(row.ref)).entry
            except ConflictError:
                conflicts += 1
        raise UnavailableError("too many change the pool at this moment")

    async def find(self, key: KeyRef) -> Row | None:
        """The place that holds this key for the one who has taken it."""
        return next((row for row in await self.rows() if row.is_of(key)), None)

    async def put_back(self, key: KeyRef) -> None:
        """As `Pooled.put_back`."""
        row = await self.find(key)
        if row is None or not row.label or row.key is None or row.current is None:
            return
        try:
            await self._store().promote(row.ref, row.key.version, row.current.version)
        except ConflictError:
            if await self.find(key) is not None:
                raise

    async def bar(self, key: KeyRef) -> None:
        """From now on it cannot be put back. ConflictError where the pool has this key, and not as taken under this name."""
        for row in await self.rows():
            if row.key is None or row.key.version.fingerprint != key.fingerprint:
                continue
            if row.label and row.is_of(key):
                await self._store().bar(row.ref, row.key.version)
                if (await self._row(row.ref)).is_of(key):
                    return
            raise ConflictError(f"{row.place} of the pool has this key, and it was not taken for this: it is not ended")

    async def forget(self, key: KeyRef) -> None:
        """As `Pooled.forget`; also for a free one, by its fingerprint."""
        row = await self.find(key)
        if row is not None:
            with suppress(ConflictError):  # somebody else did, or it is another's by now
                await self._swap(row, self._marker(_EMPTY))
            if await self.find(key) is not None:
                raise UnavailableError("the pool's place of a dead key could not be emptied")

    async def _swap(self, row: Row, material: KeyMaterial) -> None:
        """What the place says becomes this, unless it says something else by now: ConflictError."""
        if row.current is None:
            raise ConflictError(f"{row.place} of the pool is not there")
        staged = await self._store().stage(row.ref, material, str(uuid4()))
        await self._store().promote(row.ref, staged, row.current.version)

    def _marker(self, what: str) -> KeyMaterial:
        """Never the same twice, so that none is taken for an earlier one."""
        return KeyMaterial(f"{what}.{self._now():{_STAMP}}.{secrets.token_hex(8)}")

    async def _row(self, ref: SecretRef) -> Row:
        for _ in range(_TRIES):
            try:
                held, notes = await self._look(ref)
            except _MovedError:
                continue
            return _row(ref, held, notes)
        raise UnavailableError(f"{ref} changes all the time")

    async def _look(self, ref: SecretRef) -> tuple[Mapping[Stage, HeldKey], Mapping[str, str]]:
        store = self._store()
        try:
            if isinstance(store, OneLook):
                look = await store.look(ref)
                return look.held, look.notes
            stages = await store.stages(ref)
            notes = await store.annotations(ref)
        except NotFoundError:
            return {}, {}
        try:
            asked = {stage: stages[stage] for stage in (Stage.CURRENT, Stage.PREVIOUS) if stage in stages}
            return {stage: HeldKey(version, await store.read(ref, version)) for stage, version in asked.items()}, notes
        except NotFoundError:
            raise _MovedError from None


class _MovedError(Exception):
    """Between two reads the place has changed."""


def _row(ref: SecretRef, held: Mapping[Stage, HeldKey], notes: Mapping[str, str]) -> Row:
    current = held.get(Stage.CURRENT)
    if current is None:
        return Row(ref, None, None, "", None, None, None)
    marker = _MARKER.fullmatch(_said(current.material))
    label = (marker["label"] or "") if marker else ""
    key = current if marker is None else held.get(Stage.PREVIOUS) if label else None
    if marker is not None and key is not None and _MARKER.fullmatch(_said(key.material)):
        key = None
    about, _, times = notes.get(_NOTE, "").partition(" ")
    if key is None or about != key.version.fingerprint:
        times = ""
    added, _, expires = times.partition(" ")
    return Row(ref, current, key, label, _moment(marker["at"]) if marker else None, _moment(added), _moment(expires))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _created(row: Row) -> CreatedKey | None:
    ref = row.key_ref
    return CreatedKey(ref, row.key.material) if ref is not None and row.key is not None else None


def _said(material: KeyMaterial) -> str:
    """Of a place's value, to see whether it is a marker of ours."""
    return material.reveal()
