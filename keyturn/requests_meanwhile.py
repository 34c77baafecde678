"""How many requests of their users the proxies have failed while something was done: by their own counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.model import Member
from keyturn.traffic import Counted

# A program that is started anew begins its counters anew: what it counted since the last look before that is not known.
LOOK_EVERY = 5.0  # seconds


@dataclass
class RequestsMeanwhile:
    """Of the fleets whose counters keyturn.yaml has looked at (`roll.errors`). `unread`: members that never told theirs."""

    is_known: bool = False
    counted: Counted = field(default_factory=Counted)
    unread: set[str] = field(default_factory=set)
    _last: dict[str, Counted] = field(default_factory=dict)
    _looked: bool = False

    def __str__(self) -> str:
        if not self.is_known:
            return "not known: no counters are looked at (roll.errors)"
        told = f"{self.counted.failed:.0f} of {self.counted.requests:.0f} failed"
        return told + (f"; not known of {', '.join(sorted(self.unread))}" if self.unread else "")

    async def look(self, c: Assembly) -> None:
        """Every member at once. One that does not tell is left out, and raises nothing."""
        await asyncio.gather(*(self._fleet(c, fleet) for fleet in c.traffic))
        self._looked = True

    async def watch(self, c: Assembly) -> None:
        """Until it is cancelled."""
        while True:
            await self.look(c)
            await asyncio.sleep(LOOK_EVERY)

    async def _fleet(self, c: Assembly, fleet: str) -> None:
        with suppress(KeyturnError):
            members = await c.fleets[fleet].members()
            await asyncio.gather(*(self._member(c, fleet, each) for each in members))

    async def _member(self, c: Assembly, fleet: str, member: Member) -> None:
        place = f"{fleet}/{member.name}"
        try:
            now = await c.traffic[fleet].counted(member)
        except KeyturnError:
            self.unread.add(place)
            return
        before = self._last.get(place)
        if before is not None:
            self.counted += now.since(before)
        elif self._looked and place not in self.unread:
            self.counted += now  # it was not there at the first look: its program is new
        self.unread.discard(place)
        self._last[place] = now


@asynccontextmanager
async def watched(c: Assembly) -> AsyncIterator[RequestsMeanwhile]:
    """Watch while the block runs, beside it: no step waits for a counter, but for one look at the end; who is
    cancelled not even for that."""
    found = RequestsMeanwhile(is_known=bool(c.traffic))
    if not c.traffic:
        yield found
        return
    task = asyncio.create_task(found.watch(c))
    is_cancelled = False
    try:
        yield found
    except asyncio.CancelledError:
        is_cancelled = True
        raise
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if not is_cancelled:
            await found.look(c)
