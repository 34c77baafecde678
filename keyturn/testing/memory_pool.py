"""A provider in memory whose keys people make ahead, and keep in a pool: for models of the lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from keyturn.errors import ByHandError, MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef, PoolEntry, SecretRef
from keyturn.providers.pool_ledger import PoolLedger
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import MemoryProvider

POOL = tuple(SecretRef("pool", "litellm/pool", f"entry_{number}") for number in range(1, 9))


@dataclass
class MemoryPool(MemoryProvider):
    """Keys that people have made ahead: the ledger of a pool over a store in memory, and a vendor that can end keys.

    `can_end`: without, only a person can, who finds what to delete in `asked_of_people`.
    """

    pool: Any = field(default_factory=MemoryStore)
    can_end: bool = True
    asked_of_people: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> PoolLedger:
        return PoolLedger(lambda: self.pool, POOL, self.clock.now)

    def over(self, watched: Callable[[Any], Any]) -> MemoryPool:
        """The same provider, whose calls to its store pass through something. Its faults and keys stay the same ones."""
        through = copy(self)
        through.pool = watched(self.pool)
        return through

    async def begin(self) -> None:
        await self.fill(6)

    async def fill(self, count: int) -> None:
        """A person makes so many keys, and puts them into the pool."""
        for _ in range(count):
            made = self.add(self.new_key(), "made for the pool")
            await self.put_in(made.material)

    async def put_in(self, material: KeyMaterial, expires_at: datetime | None = None) -> PoolEntry:
        return await self.ledger.put_in(material, expires_at)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        raise MisconfiguredError("people make the keys")

    async def list(self) -> Sequence[KeyRef]:
        self._maybe_fail("list")
        held = [row.key_ref for row in await self.ledger.rows() if row.key_ref is not None]
        pooled = {ref.fingerprint for ref in held}
        others = [ref for ref, key in self.keys.values() if self.can_end and key.fingerprint() not in pooled]
        return [*held, *others]

    async def entries(self) -> Sequence[PoolEntry]:
        self._maybe_fail("list")
        return [row.entry for row in await self.ledger.rows()]

    def may_take(self, entry: PoolEntry) -> bool:
        return entry.is_free

    async def take(self, label: str, held: Collection[str]) -> CreatedKey:
        self._maybe_fail("create")
        taken = await self.ledger.take(label, self.may_take, held)
        if self.refuses_new:
            self.dud |= {id for id, (_, key) in self.keys.items() if key == taken.material}
        return taken

    async def text_of(self, key: KeyRef) -> KeyMaterial | None:
        row = await self.ledger.find(key)
        return row.key.material if row is not None and row.key is not None else None

    async def put_back(self, key: KeyRef) -> None:
        await self.ledger.put_back(key)

    async def end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        self._maybe_fail("revoke")
        await self.ledger.bar(key)
        text = await self.text_of(key) or material
        fingerprint = text.fingerprint() if text else key.fingerprint
        fitting = [
            each
            for each, (_, held) in self.keys.items()
            if held.fingerprint() == fingerprint or (text is None and key.hint == held.last_four())
        ]
        id = next(iter(fitting), key.id)
        if not self.can_end:
            self.asked_of_people.append(id)
            raise ByHandError("delete it in the console")
        if self.keys.pop(id, None):
            self.revoked.append(id)

    async def forget(self, key: KeyRef) -> None:
        await self.ledger.forget(key)

    async def left_over(self, in_service: str) -> Sequence[str]:
        """Keys that are taken and not in service; and many, where one in service is free, or one that lives in no place."""
        found, free = [], set()
        for row in await self.ledger.rows():
            if row.key is None:
                continue
            fingerprint = row.key.version.fingerprint
            if row.label and fingerprint != in_service:
                found.append(row.label)
            if not row.label:
                free.add(fingerprint)
        if in_service in free:
            found += ["a key that is in service is free"] * 9
        lost = [ref for ref, key in self.keys.values() if ref.name == "made for the pool"]
        lost = [ref for ref in lost if self.keys[ref.id][1].fingerprint() not in {*free, in_service}]
        if len(lost) > len(found):
            found += ["a live key is in no place"] * 9
        return found
