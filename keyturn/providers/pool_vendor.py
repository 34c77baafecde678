"""What the adapters of vendors have in common whose keys people make in a console: see docs/pools.md, and `Pooled`.

A vendor's own file says, as for every Vendor, FACTS, CALLS, VERDICTS and `_probe`; and `_end`, where its API can end a key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from keyturn.durations import Duration
from keyturn.errors import ByHandError, KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, KeyRef, PoolEntry, SecretRef
from keyturn.ports import SecretStore
from keyturn.providers.pool_ledger import PoolLedger
from keyturn.providers.vendor import Vendor, VendorSettings, utc_now
from keyturn.references import Resolver


class PoolPlace(BaseModel):
    """Where the pool is: fields `entry_1` to `entry_SIZE` of a bundle, in a store of keyturn.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    store: str
    path: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_./+=@:!-]+$")
    size: int = Field(default=6, ge=1, le=50)

    @property
    def places(self) -> tuple[SecretRef, ...]:
        return tuple(SecretRef(self.store, self.path, f"entry_{number}") for number in range(1, self.size + 1))


class PoolSettings(VendorSettings):
    """`pool`: where the keys are that people have made ahead. `low_water`: with so many free ones, or fewer, it is said.
    `expiry_warning`: a key that ends earlier is told, and not put into service."""

    pool: PoolPlace
    low_water: int = Field(default=1, ge=0)
    expiry_warning: Duration = timedelta(days=14)


class PoolVendor(Vendor):
    """The verbs of KeyProvider and of Pooled, as far as they are alike everywhere."""

    NEEDS: ClassVar[tuple[str, ...]] = ("stores",)

    def __init__(
        self,
        settings: Any,
        resolve: Resolver,
        now: Callable[[], datetime] = utc_now,
        *,
        stores: Callable[[str], SecretStore],
    ) -> None:
        pool: PoolPlace = settings.pool
        self.ledger = PoolLedger(lambda: stores(pool.store), pool.places, now)
        super().__init__(settings, resolve, now)

    # What a vendor's own file says -----------------------------------------------------------------------------------

    @property
    def console(self) -> str:
        """The address where a person makes and deletes keys."""
        raise NotImplementedError

    async def _end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        """As `Pooled.end`, of a key that cannot be put back any more. Without a vendor's call for it: a person is asked."""
        raise self.by_hand(key, material)

    # What is alike --------------------------------------------------------------------------------------------------

    def by_hand(self, key: KeyRef, material: KeyMaterial | None, why: str = "its API cannot") -> ByHandError:
        """What a person is asked to do. Of the text no more is told than a console shows."""
        hint = material.last_four() if material else key.hint
        which = f"the key that ends in {hint}" if hint else f"the old key {key.id}"
        which += "" if material else ", whose text is held nowhere,"
        return ByHandError(f"{self.facts.vendor}: delete {which} at {self.console} ({why})")

    async def preflight(self) -> Sequence[Finding]:
        """How many keys are left, and which of them end soon; and what the vendor's own calls show."""
        what = f"the pool of {self.facts.vendor} is filled"
        remedy = f"make keys at {self.console}, and give them to `keyturn pool add`"
        try:
            entries = await self.entries()
        except KeyturnError as error:
            return [Finding(what, False, error.message, error.remedy)]
        free = [entry for entry in entries if self.may_take(entry)]
        told = f"{len(free)} free of {len(entries)} places"
        found = [Finding(what, None if len(free) <= self.settings.low_water else True, told, remedy)]
        for entry in entries:
            if entry.key is not None and self._ends_soon(entry.key):
                state = "free, and not put into service" if entry.is_free else f"taken by {entry.key.name}"
                detail = f"the key in {entry.place} ({entry.key.hint}) ends at {entry.key.expires_at:%Y-%m-%d}: {state}"
                found.append(Finding("keys of the pool live long enough", None, detail, remedy))
        return [*found, *(await self._permissions() if self.facts.permissions else ())]

    async def entries(self) -> Sequence[PoolEntry]:
        """As the port says."""
        return [row.entry for row in await self.ledger.rows()]

    async def put_in(self, material: KeyMaterial, expires_at: datetime | None = None) -> PoolEntry:
        """As the port says."""
        return await self.ledger.put_in(material, expires_at)

    def may_take(self, entry: PoolEntry) -> bool:
        """As the port says; long enough is `expiry_warning`."""
        return entry.is_free and entry.key is not None and not self._ends_soon(entry.key)

    def _ends_soon(self, key: KeyRef) -> bool:
        warning: timedelta = self.settings.expiry_warning
        return key.expires_at is not None and key.expires_at - self._now() < warning

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """A key of the pool: when it ends was chosen by who made it."""
        return await self.take(label, ())

    async def take(self, label: str, held: Collection[str]) -> CreatedKey:
        """As the port says."""
        return await self.ledger.take(label, self.may_take, held)

    async def text_of(self, key: KeyRef) -> KeyMaterial | None:
        """As the port says."""
        row = await self.ledger.find(key)
        return row.key.material if row is not None and row.key is not None else None

    async def put_back(self, key: KeyRef) -> None:
        """As the port says."""
        await self.ledger.put_back(key)

    async def forget(self, key: KeyRef) -> None:
        """As the port says."""
        await self.ledger.forget(key)

    async def end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        """As the port says."""
        await self.ledger.bar(key)
        await self._end(key, await self.text_of(key) or material)

    async def revoke(self, key: KeyRef) -> None:
        """As `end`, of a key whose text the caller has not."""
        await self.end(key, None)

    async def _keys(self) -> Sequence[KeyRef]:
        """What the pool holds: there is no other list."""
        return [entry.key for entry in await self.entries() if entry.key is not None]
