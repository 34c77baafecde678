"""One member at a time: whoever restarts for a token of its own waits until no other member is down, or about to be.

Nobody orders such a restart, so nobody goes from member to member, as a roll does. Each says in its status that it wants
its turn, and only then looks at the others: of two that do so, one at least sees the other. Whoever sees one that is ahead
of it in the list takes its word back and lets it go first. One that cannot be asked may be down: it is waited for too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds, between looks; up to twice that, by chance


@dataclass(frozen=True, slots=True)
class Seen:
    """Another member, as its status tells. `member`: what names its process; "" where it tells none."""

    member: str
    serving: bool
    wants: bool


Look = Callable[[], Awaitable[Seen | None]]
"""None: it cannot be asked."""


@dataclass
class Turn:
    """`place`: of this member in the list. `others`: every other place in it, and how to look there.

    It may find itself among the others, where it is listed by another address than it was started with.
    """

    place: int = 0
    others: Mapping[int, Look] = field(default_factory=dict)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = lambda: secrets.randbelow(1000) / 1000
    member: str = field(default_factory=lambda: secrets.token_hex(8))
    wants: bool = False

    async def take(self, in_haste: Callable[[], bool]) -> None:
        """Return when it is this member's turn; also when it is `in_haste`, which is told in the log."""
        while True:
            self.wants = True
            ahead, in_the_way = await self._look()
            if not in_the_way:
                return
            if in_haste():
                log.warning(
                    "restarting while %s of these proxies is down or cannot be asked: the token is about to end", in_the_way
                )
                return
            if ahead:
                self.wants = False
            await self.pause(_PAUSE * (1 + self.chance()))

    async def take_at_once(self) -> bool:
        """As `take`, for a member that is ordered to restart: False, and no turn, where another member wants its own.

        Whoever gives the order knows which members are down, and goes from one to the next: they are in nobody's way here.
        """
        before, self.wants = self.wants, True
        if any(each is not None and each.wants for _, each in await self._seen()):
            self.wants = before
            return False
        return True

    def give_back(self) -> None:
        """It is over: the others may."""
        self.wants = False

    async def _look(self) -> tuple[bool, int]:
        """Whether somebody ahead in the list wants to, and how many are in the way."""
        seen = await self._seen()
        ahead = any(each is not None and each.wants and place < self.place for place, each in seen)
        return ahead, sum(1 for _, each in seen if each is None or each.wants or not each.serving)

    async def _seen(self) -> Sequence[tuple[int, Seen | None]]:
        places = list(self.others)
        found: Sequence[Seen | None] = await asyncio.gather(*(self.others[place]() for place in places))
        together = zip(places, found, strict=True)
        return [(place, each) for place, each in together if each is None or each.member != self.member]
