"""The places of many runs behind one lease: one call for all, and what is left by one is not kept from others for long."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest

import flows.asking
import flows.lease
import flows.shared_lease
from flows.lease import NoLimitError
from flows.shared_lease import Shared, place_of, rests

SLOTS = ("a", "b", "c")


class Server:
    """Prefect's limits of one place each. `active`: which are taken. `asked`: the calls, in order: names for places, `-` and
    names for places given back by name, "release" for a lease.

    `away`: so many calls that give back fail. `open`: answers to all others wait for it.
    """

    def __init__(self, limits: tuple[str, ...]) -> None:
        self.limits, self.active = set(limits), set[str]()
        self.leases: dict[UUID, set[str]] = {}
        self.asked: list[str] = []
        self.away = 0
        self.open = asyncio.Event()
        self.open.set()

    async def increment_concurrency_slots_with_lease(self, names: list[str], **_: object) -> httpx.Response:
        self.asked.append(" ".join(sorted(names)))
        await self.open.wait()
        request = httpx.Request("POST", "http://prefect")
        there = self.limits.intersection(names)
        if there & self.active:
            return httpx.Response(423, headers={"Retry-After": "0"}, request=request).raise_for_status()
        lease = uuid4()
        self.leases[lease] = there
        self.active |= there
        limits = [{"id": str(uuid4()), "name": name, "limit": 1} for name in sorted(there)]
        return httpx.Response(200, json={"lease_id": str(lease), "limits": limits}, request=request)

    async def release_concurrency_slots(self, names: list[str], slots: int, occupancy_seconds: float) -> None:
        self.asked.append(" ".join(["-", *names]))
        await self.open.wait()
        self._answer()
        assert slots == 1
        assert occupancy_seconds > 0
        self.active -= set(names)

    async def release_concurrency_slots_with_lease(self, lease: UUID) -> None:
        self.asked.append("release")
        self._answer()
        self.active -= self.leases.pop(lease)

    async def renew_concurrency_lease(self, lease: UUID, seconds: float) -> None:
        pytest.fail("no test takes so long")

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise httpx.ConnectError("away")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(SLOTS)
    monkeypatch.setattr(flows.asking, "get_client", lambda: nullcontext(server))
    monkeypatch.setattr(flows.shared_lease, "LEFT_SECONDS", 3600.0)
    monkeypatch.setattr(flows.lease, "get_run_logger", lambda: SimpleNamespace(warning=print))
    return server


async def places(*slots: str) -> list[Shared | None]:
    return list(await asyncio.gather(*map(place_of, slots)))


async def shared(*slots: str) -> Shared:
    """The one lease that they all have a place by."""
    found = await places(*slots)
    assert found[0] is not None
    assert all(each is found[0] for each in found)
    return found[0]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_those_who_ask_in_one_moment_are_one_call_and_the_last_of_them_gives_all_back(server: Server) -> None:
    lease = await shared(*SLOTS)
    assert server.asked == ["a b c"]
    await lease.leave("b")
    await lease.leave("a")
    assert server.active == {"a", "b", "c"}
    await lease.leave("c")
    assert (server.active, server.asked[1:]) == (set(), ["release"])


async def test_who_comes_while_the_call_is_made_is_in_the_next_one_with_all_who_came(server: Server) -> None:
    server.open.clear()
    first = asyncio.create_task(place_of("a"))
    await settled()
    others = asyncio.gather(place_of("b"), place_of("c"))
    await settled()
    server.open.set()
    assert await first is not None
    assert len(set(await others)) == 1
    assert server.asked == ["a", "b c"]


async def test_no_call_asks_for_more_than_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.shared_lease, "MOST", 2)
    await places(*SLOTS)
    assert server.asked == ["a b", "c"]


async def test_where_one_is_taken_each_asks_for_itself(server: Server) -> None:
    server.active = {"b"}
    assert await places(*SLOTS) == [None, None, None]
    assert server.active == {"b"}


async def test_of_those_without_a_limit_it_is_told_and_the_others_have_their_places(server: Server) -> None:
    server.limits = {"a", "c"}
    found = await asyncio.gather(*map(place_of, SLOTS), return_exceptions=True)
    assert isinstance(found[1], NoLimitError)
    assert isinstance(found[0], Shared)
    assert found[0] is found[2]
    await found[0].leave("a")
    await found[0].leave("c")
    assert server.active == set()
    server.limits = set()
    with pytest.raises(NoLimitError):
        await place_of("a")


async def test_who_is_cancelled_while_the_call_is_made_keeps_nothing(server: Server) -> None:
    server.open.clear()
    asking = [asyncio.create_task(place_of(slot)) for slot in ("a", "b")]
    await settled()
    for each in asking:
        each.cancel()
    server.open.set()
    await asyncio.gather(*asking, return_exceptions=True)
    await settled()
    assert server.asked == ["a b", "release"]
    assert server.active == set()


async def test_who_is_cancelled_before_the_call_is_not_asked_for(server: Server) -> None:
    server.open.clear()
    first = asyncio.create_task(place_of("a"))
    await settled()
    second = asyncio.create_task(place_of("b"))
    await settled()
    second.cancel()
    server.open.set()
    assert await first is not None
    await settled()
    assert server.asked == ["a"]


async def test_what_rests_is_taken_up_again_without_a_call(server: Server) -> None:
    lease = await shared("a", "b")
    assert not rests("a")
    await lease.leave("a")
    assert rests("a")
    assert await place_of("a") is lease
    assert not rests("a")
    assert len(server.asked) == 1
    await lease.leave("b")
    assert server.active == {"a", "b"}
    await lease.leave("a")
    assert server.active == set()


async def test_what_was_left_is_given_back_while_the_others_are_at_work(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.shared_lease, "LEFT_SECONDS", 0.0)
    lease = await shared(*SLOTS)
    await lease.leave("a")
    await settled()
    assert server.active == {"b", "c"}
    assert not rests("a")
    await lease.leave("b")
    await settled()
    assert server.active == {"c"}
    await lease.leave("c")
    assert server.active == set()
    assert server.asked == ["a b c", "- a", "- b", "release"]


async def test_what_is_taken_up_again_is_not_given_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.shared_lease, "LEFT_SECONDS", 0.0)
    lease = await shared(*SLOTS)
    await lease.leave("a")
    await lease.leave("b")
    assert await place_of("a") is lease
    await settled()
    assert server.active == {"a", "c"}


async def test_a_lease_is_given_back_after_what_is_given_back_by_name(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round it would be another machine's place that is given back."""
    monkeypatch.setattr(flows.shared_lease, "LEFT_SECONDS", 0.0)
    monkeypatch.setattr(flows.asking, "_BEHIND_OTHERS_SECONDS", 0.0)
    lease = await shared("a", "b")
    server.open.clear()
    await lease.leave("a")
    await settled()
    leaving = asyncio.create_task(lease.leave("b"))
    await settled()
    assert server.asked[1:] == ["- a"]
    server.open.set()
    await leaving
    assert server.asked[2:] == ["release"]
    assert server.active == set()


async def test_that_a_place_cannot_be_given_back_keeps_no_lease(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.shared_lease, "LEFT_SECONDS", 0.0)
    lease = await shared("a", "b")
    server.away = 1
    await lease.leave("a")
    await settled()
    assert server.active == {"a", "b"}
    await lease.leave("b")
    assert server.active == set()


async def test_that_it_cannot_be_given_back_fails_nobody(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    lease = await shared("a")
    server.away = 1
    await lease.leave("a")
    assert "when their lease is over" in capsys.readouterr().out
