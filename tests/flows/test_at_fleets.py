"""Who rolls a fleet is alone there, who only asks its members is there beside others, and one roll does for many."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

import flows.at_fleets
import flows.turnstile
from flows.at_fleets import (
    LOOKS,
    AtFleets,
    alone_on,
    alone_unless,
    beside_others_on,
    company_of,
    in_company,
    one_of_the_company,
)
from keyturn.errors import UnavailableError


class Slots:
    """In place of Prefect's: `taken`, one after another. `refuses`: so many times."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.held: set[str] = set()
        self.refuses = 0

    @asynccontextmanager
    async def leased(self, slot: str, **_: object) -> AsyncIterator[None]:
        if self.refuses:
            self.refuses -= 1
            raise UnavailableError("the server is away")
        assert slot not in self.held
        self.taken.append(slot)
        self.held.add(slot)
        yield
        self.held.remove(slot)


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Slots:
    slots = Slots()
    for name, stub in {
        "leased": slots.leased,
        "get_current_settings": lambda: SimpleNamespace(home=tmp_path),
        "get_run_logger": lambda: SimpleNamespace(info=print, warning=print),
        "made": lambda *_, **__: nullcontext(),
        "KEPT_SECONDS": -1.0,  # it is given back each time: what is held is seen
    }.items():
        monkeypatch.setattr(flows.turnstile, name, stub)
    return slots


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Fleet:
    """Of one fleet's rolls: what credentials' values its members have loaded, of those that are promoted."""

    def __init__(self, *fleets: str) -> None:
        self.fleets = fleets
        self.promoted: set[str] = set()
        self.loaded: set[str] = set()
        self.rolls: list[set[str]] = []
        self.proving = 0
        self.may_roll, self.may_prove = asyncio.Event(), asyncio.Event()

    async def serve(self, credential: str, *, proves_long: bool = True) -> None:
        self.promoted.add(credential)

        async def is_rolled() -> bool:
            await asyncio.sleep(0)
            return credential in self.loaded

        async with alone_unless(self.fleets, is_rolled) as at:
            if credential not in self.loaded:
                await self.roll(at)
            at.share()
            self.proving += 1
            if proves_long:
                await self.may_prove.wait()
            self.proving -= 1

    async def roll(self, at: AtFleets) -> None:
        assert at.alone and not self.proving
        moved = set(self.promoted)
        await self.may_roll.wait()
        assert not self.proving, "nobody asks the members meanwhile"
        self.rolls.append(moved - self.loaded)
        self.loaded |= moved


async def test_who_only_asks_is_there_beside_others_and_the_turn_is_taken_once(slots: Slots) -> None:
    inside, leave = list[int](), asyncio.Event()

    async def asks(number: int) -> None:
        async with beside_others_on(["prod"]) as at:
            assert not at.alone
            inside.append(number)
            await leave.wait()

    asking = [asyncio.create_task(asks(number)) for number in range(5)]
    await until(lambda: len(inside) == 5)
    assert slots.taken == ["keyturn-fleet.prod"]
    leave.set()
    await asyncio.gather(*asking)
    assert not slots.held


async def test_the_turn_is_kept_until_the_last_of_them_has_left(slots: Slots) -> None:
    inside, leave = list[str](), {name: asyncio.Event() for name in ("first", "last")}

    async def asks(name: str) -> None:
        async with beside_others_on(["prod"]):
            inside.append(name)
            await leave[name].wait()
        inside.remove(name)

    asking = [asyncio.create_task(asks(name)) for name in leave]
    await until(lambda: len(inside) == 2)
    leave["first"].set()
    await until(lambda: inside == ["last"])
    assert slots.held == {"keyturn-fleet.prod"}
    leave["last"].set()
    await asyncio.gather(*asking)
    assert not slots.held


async def test_who_rolls_waits_for_those_who_ask_and_whoever_comes_later_for_them(slots: Slots) -> None:
    order, leave = list[str](), asyncio.Event()

    async def asks(name: str) -> None:
        async with beside_others_on(["prod"]):
            order.append(name)
            await leave.wait()

    async def rolls() -> None:
        async with alone_on(["prod"]) as at:
            assert at.alone
            order.append("rolls")

    first = asyncio.create_task(asks("first"))
    await until(lambda: order == ["first"])
    rolling = asyncio.create_task(rolls())
    await until(lambda: flows.turnstile.is_wanted_here("fleet.prod"))
    later = asyncio.create_task(asks("later"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert order == ["first"], "it does not push in before the one that waits to roll"
    leave.set()
    await asyncio.gather(first, rolling, later)
    assert order == ["first", "rolls", "later"]


async def test_one_rolls_for_all_who_are_promoted_and_they_are_proved_beside_each_other(slots: Slots) -> None:
    fleet = Fleet("prod", "eu")
    fleet.promoted |= {f"key-{number}" for number in range(6)}
    running = [asyncio.create_task(fleet.serve(f"key-{number}")) for number in range(6)]
    fleet.may_roll.set()
    await until(lambda: fleet.proving == 6)
    fleet.may_prove.set()
    await asyncio.gather(*running)
    assert [len(roll) for roll in fleet.rolls] == [6] and not slots.held


async def test_of_those_who_came_too_late_for_a_roll_one_rolls_and_the_others_wait_for_it(slots: Slots) -> None:
    fleet = Fleet("prod")
    first = asyncio.create_task(fleet.serve("first", proves_long=False))
    await until(lambda: slots.held == {"keyturn-fleet.prod"})
    for _ in range(50):
        await asyncio.sleep(0)  # what it moves is read by now
    late = [asyncio.create_task(fleet.serve(f"late-{number}")) for number in range(4)]
    for _ in range(50):
        await asyncio.sleep(0)
    fleet.may_roll.set()
    await until(lambda: fleet.proving == 4)
    fleet.may_prove.set()
    await asyncio.gather(first, *late)
    assert fleet.rolls == [{"first"}, {f"late-{number}" for number in range(4)}]


async def test_where_each_is_rolled_for_itself_nobody_looks_after_every_roll(slots: Slots) -> None:
    looks, rolled = 0, list[int]()

    async def serve(number: int) -> None:
        async def is_rolled() -> bool:
            nonlocal looks
            looks += 1
            return False

        async with alone_unless(["prod"], is_rolled) as at:
            assert at.alone
            await asyncio.sleep(0)
            rolled.append(number)
            at.share()

    async with asyncio.timeout(10):
        await asyncio.gather(*(serve(number) for number in range(10)))
    assert sorted(rolled) == list(range(10)) and not slots.held
    assert 9 <= looks <= 9 * LOOKS


async def test_a_roll_that_fails_leaves_it_to_the_next_one(slots: Slots) -> None:
    fleet = Fleet("prod")

    async def fails() -> None:
        async def never() -> bool:
            return False

        async with alone_unless(["prod"], never):
            await fleet.may_roll.wait()
            raise ValueError("a member did not take it")

    failing = asyncio.create_task(fails())
    await until(lambda: "keyturn-fleet.prod" in slots.held)
    other = asyncio.create_task(fleet.serve("other"))
    for _ in range(50):
        await asyncio.sleep(0)
    fleet.may_prove.set()
    fleet.may_roll.set()
    with pytest.raises(ValueError, match="did not take it"):
        await failing
    await other
    assert fleet.rolls == [{"other"}] and not slots.held


async def test_where_the_turn_cannot_be_had_each_one_is_told_and_the_next_one_tries_itself(slots: Slots) -> None:
    slots.refuses = 2

    async def asks() -> str:
        async with beside_others_on(["prod"]):
            return "asked"

    answers = await asyncio.gather(*(asks() for _ in range(4)), return_exceptions=True)
    assert [type(each) for each in answers].count(UnavailableError) == 2 and answers.count("asked") == 2
    assert not slots.held


async def test_one_that_is_cancelled_while_it_waits_keeps_nobody_from_the_fleet(slots: Slots) -> None:
    order, leave = list[str](), asyncio.Event()

    async def rolls() -> None:
        async with alone_on(["prod"]):
            order.append("rolls")
            await leave.wait()

    async def asks(name: str) -> None:
        async with beside_others_on(["prod"]):
            order.append(name)

    rolling = asyncio.create_task(rolls())
    await until(lambda: order == ["rolls"])
    given_up, stays = asyncio.create_task(asks("given up")), asyncio.create_task(asks("stays"))
    await until(lambda: flows.turnstile.is_wanted_here("fleet.prod"))
    given_up.cancel()
    await asyncio.wait([given_up])
    leave.set()
    await asyncio.gather(rolling, stays)
    assert order == ["rolls", "stays"] and not slots.held


async def test_whoever_set_out_together_waits_for_the_others_until_they_are_there_or_will_not_come() -> None:
    there, go = list[str](), {name: asyncio.Event() for name in ("fails", "slow")}

    async def comes(name: str) -> None:
        with one_of_the_company(name):
            if name in go:
                await go[name].wait()
            if name == "fails":
                return
            await company_of(name, ["prod"])
            there.append(name)

    with in_company({"quick": ["prod"], "fails": ["prod"], "slow": ["prod", "eu"], "elsewhere": ["eu-only"]}):
        running = [asyncio.create_task(comes(name)) for name in ("quick", "fails", "slow")]
    for _ in range(20):
        await asyncio.sleep(0)
    go["fails"].set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert there == [], "one is on its way"
    go["slow"].set()
    await asyncio.gather(*running)
    assert set(there) == {"quick", "slow"}


async def test_the_company_is_not_waited_for_for_long_and_alone_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.at_fleets, "COMPANY_SECONDS", 0.01)
    await company_of("quick", ["prod"])
    with in_company({"quick": ["prod"], "never": ["prod"]}):
        async with asyncio.timeout(5):
            await company_of("quick", ["prod"])
