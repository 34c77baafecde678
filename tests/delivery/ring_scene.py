"""A store with one key or several, and time that only moves when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.delivery.keys import Variable
from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef
from keyturn.testing.world import new_key

NAME = "OPENAI_API_KEY"
FRESHNESS = Freshness(
    interval=timedelta(seconds=60),
    floor=timedelta(seconds=2),
    warn_after=timedelta(seconds=600),
    max_staleness=timedelta(seconds=3600),
)


class Time:
    """`clock` and `pause` of a ring. Begins at a number that is no default of anything."""

    def __init__(self) -> None:
        self.now = 7000.0
        self.pauses: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let so much time go by: whoever wakes meanwhile does his work at his own moment."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.now = max(self.now, due)
                future.set_result(None)
                await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Until nobody in memory has anything to do: every step of ours takes fewer turns of the loop than this."""
    for _ in range(50):
        await asyncio.sleep(0)


class Shop:
    """A store with one key. `failure`: what a read raises. `gate`: reads wait for it. `told`: wakes who watches."""

    def __init__(self) -> None:
        self.held = held(new_key())
        self.failure: Exception | None = None
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.told = asyncio.Event()
        self.watch_fails: KeyturnError | None = None
        self.watched: list[VersionRef] = []

    def turn(self) -> HeldKey:
        self.held = held(new_key())
        return self.held

    async def read(self) -> HeldKey:
        self.reads += 1
        found, failure = self.held, self.failure
        await self.gate.wait()
        if failure is not None:
            raise failure
        return found

    async def changed(self, since: VersionRef) -> None:
        self.watched.append(since)
        if self.watch_fails is not None:
            raise self.watch_fails
        await self.told.wait()
        self.told.clear()


def held(material: KeyMaterial) -> HeldKey:
    fingerprint = material.fingerprint()
    return HeldKey(VersionRef(f"id-{fingerprint}", fingerprint), material)


def ring_over(time: Time, shops: Mapping[str, Shop], freshness: Freshness = FRESHNESS) -> KeyRing:
    """An unopened ring over these shops, in a time of the test's own and without jitter."""
    return KeyRing({name: shop.read for name, shop in shops.items()}, freshness, **timing(time))


def watching_ring(time: Time, shop: Shop) -> KeyRing:
    """A ring over a store that tells of changes."""

    @asynccontextmanager
    async def sources() -> AsyncIterator[list[Variable]]:
        yield [Variable("openai-prod", NAME, shop.read, changed=shop.changed)]

    return KeyRing(sources, FRESHNESS, **timing(time))


def timing(time: Time, chance: float = 0.5) -> dict[str, Any]:
    return {"clock": time.clock, "pause": time.pause, "chance": lambda: chance}
