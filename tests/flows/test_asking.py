"""How many calls that change something are at Prefect's server at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import flows.asking
from flows.asking import in_turn, several_at_once


class Server:
    """In place of Prefect's: it answers whoever may go on. `most`: were there at once. `now`: of the clock."""

    def __init__(self) -> None:
        self.there, self.most, self.asked = 0, 0, 0
        self.now = 1000.0
        self.answers = asyncio.Semaphore(0)
        self.takes = 0.0

    async def call(self, _: object) -> int:
        self.there += 1
        self.asked += 1
        self.most = max(self.most, self.there)
        try:
            await self.answers.acquire()
            self.now += self.takes
        finally:
            self.there -= 1
        return self.asked

    async def answer_all(self, count: int) -> None:
        """So many calls at once, one answer after another; gives how many were there at once at the most."""
        self.most = 0
        calls = [asyncio.create_task(in_turn(self.call)) for _ in range(count)]
        for _ in range(count):
            await settled()
            self.answers.release()
        await asyncio.gather(*calls)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()

    @asynccontextmanager
    async def client() -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(flows.asking, "get_client", client)
    monkeypatch.setattr(flows.asking, "monotonic", lambda: server.now)
    monkeypatch.setattr(flows.asking, "_BEHIND_OTHERS_SECONDS", 600.0)
    return server


async def test_one_after_the_other(server: Server) -> None:
    await server.answer_all(20)
    assert server.most == 1


async def test_of_a_run_of_many_one_at_first_and_more_while_they_are_answered_in_time(server: Server) -> None:
    with several_at_once():
        await server.answer_all(2)
        assert server.most == 1
        await server.answer_all(20)
    assert server.most == flows.asking._WIDEST


async def test_nothing_is_learned_while_nobody_waits(server: Server) -> None:
    with several_at_once():
        for _ in range(5):
            await server.answer_all(1)
        await server.answer_all(2)
    assert server.most == 1


async def test_one_again_after_one_that_was_slow_and_for_a_minute(server: Server) -> None:
    with several_at_once():
        await server.answer_all(20)
        server.takes = flows.asking._SLOW_SECONDS + 0.1
        await server.answer_all(1)
        server.takes = 0.0
        await server.answer_all(flows.asking._WIDEST)  # the places that were free when it was slow go one by one
        await server.answer_all(20)
        assert server.most == 1
        server.now += flows.asking._NARROW_SECONDS
        await server.answer_all(20)
        assert server.most == flows.asking._WIDEST


async def test_one_that_hangs_keeps_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.asking, "_BEHIND_OTHERS_SECONDS", 0.01)
    hangs = asyncio.create_task(in_turn(server.call))
    await settled()
    other = asyncio.create_task(in_turn(server.call))
    async with asyncio.timeout(10):
        while server.there < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    for _ in range(2):
        server.answers.release()
    await asyncio.gather(hangs, other)
    await server.answer_all(2)
    assert server.most == 1, "and it is no place more"


async def test_one_that_fails_gives_its_place_back(server: Server) -> None:
    async def fails(_: object) -> None:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await in_turn(fails)
    await server.answer_all(2)
    assert server.most == 1
