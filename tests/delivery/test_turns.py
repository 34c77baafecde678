"""Members that restart by themselves: one at a time, whatever the order in which they look at one another."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from keyturn.delivery.turns import Look, Seen, Turn


class Fleet:
    """Members in one list. A look takes a random number of turns of the loop; a restart takes some, too."""

    def __init__(self, count: int, seed: int, known: bool = True) -> None:
        self.chance = random.Random(seed)
        self.down: set[int] = set()
        self.most_down = 0
        self.turns: list[Turn] = []
        for n in range(count):
            # One that does not find itself in the list looks at everybody, itself too.
            others = {m: self.look(m) for m in range(count) if m != n or not known}
            self.turns.append(Turn(n if known else count, others, self.pause, self.chance.random))
        self.order: list[int] = []

    def look(self, n: int) -> Look:
        async def seen() -> Seen | None:
            await self.some_time()
            found = Seen(self.turns[n].member, n not in self.down, self.turns[n].wants)
            await self.some_time()
            return found

        return seen

    async def some_time(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    async def pause(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            await asyncio.sleep(0)

    async def restart(self, n: int) -> None:
        await self.some_time()
        await self.turns[n].take(lambda: False)
        self.down.add(n)
        self.most_down = max(self.most_down, len(self.down))
        self.order.append(n)
        await self.pause(3)
        self.down.discard(n)
        self.turns[n].give_back()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(25))
async def test_no_two_are_down_at_once_and_each_gets_its_turn(seed: int, known: bool) -> None:
    fleet = Fleet(4, seed, known)
    async with asyncio.timeout(60):
        await asyncio.gather(*(fleet.restart(n) for n in range(4)))
    assert fleet.most_down == 1
    assert sorted(fleet.order) == [0, 1, 2, 3]


async def test_one_that_is_down_is_waited_for_until_there_is_haste(caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(2, 1)
    fleet.down.add(1)
    looks = 0

    def in_haste() -> bool:
        nonlocal looks
        looks += 1
        return looks > 5

    with caplog.at_level(logging.WARNING):
        await fleet.turns[0].take(in_haste)
    assert looks == 6
    assert "restarting while 1 of these proxies is down" in caplog.text


async def test_a_member_that_cannot_be_asked_may_be_down() -> None:
    async def nothing() -> Seen | None:
        return None

    asked = 0

    async def pause(seconds: float) -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            turn.others = {}

    turn = Turn(0, {1: nothing}, pause)
    await turn.take(lambda: False)
    assert asked == 3


async def test_whoever_is_alone_waits_for_nobody() -> None:
    await Turn().take(lambda: False)
