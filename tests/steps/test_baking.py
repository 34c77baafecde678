"""A fleet is rolled in waves: those that were moved are watched before more are, and a bad wave goes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from keyturn.assembly import Assembly
from keyturn.errors import RolledBackError, RollFailedError, UnavailableError
from keyturn.lifecycle import Reason
from keyturn.model import Judgement, Member, Verdict
from keyturn.settings import RollSettings
from keyturn.testing.explorer import Fault
from keyturn.testing.world import MemoryCanary, MemoryFleet, World
from keyturn.traffic import Counted
from tests.steps import plain_flows
from tests.steps.scene import PLAIN, Findings, Scene

NAMES = tuple(f"m{number}" for number in range(8))
WAVES = {"waves": [1, "50%"], "bake": "10m"}


async def a_world(roll: dict[str, Any], *, stores: int = 1) -> World:
    world = await World.make(stores=stores)
    world.settings = world.settings.model_copy(update={"roll": RollSettings.model_validate(roll)})
    for fleet in world.fleets.values():
        await restarted(fleet, NAMES)
    return world


async def restarted(fleet: MemoryFleet, names: tuple[str, ...]) -> None:
    fleet.names = names
    fleet.loaded.clear()
    await fleet.start()


def told(c: Assembly, *words: str) -> list[str]:
    """Lines of the roll that have one of these words, without the fleet's name."""
    lines = (line.sentence.removeprefix("local/") for line in c.timeline if line.step == "roll")
    return [line for line in lines if any(word in line for word in words)]


async def test_after_each_wave_but_the_last_those_that_were_moved_are_watched() -> None:
    world = await a_world(WAVES)
    c = world.worker()
    begun = world.clock.now()
    await plain_flows.rotate(c, begun)
    assert told(c, ": rolling", "watched") == [
        "m0: rolling",
        "local: 1 moved, watched for 10m before the others",
        *(f"m{number}: rolling" for number in (1, 2, 3)),
        "local: 4 moved, watched for 10m before the others",
        *(f"m{number}: rolling" for number in (4, 5, 6, 7)),
    ]
    assert timedelta(minutes=20) <= world.clock.now() - begun < timedelta(minutes=25)


@dataclass
class Fading(MemoryCanary):
    """One member answers for so long after it was moved, and then no more."""

    world: World | None = None
    name: str = "m0"
    lasts: timedelta = timedelta(minutes=4)
    moved: dict[str, Any] = field(default_factory=dict)

    async def member(self, member: Member) -> Judgement:
        assert self.world is not None
        first = self.world.first_key.material.fingerprint()
        loaded = self.fleet.loaded[member.name]
        if member.name == self.name and loaded is not None and loaded.fingerprint != first:
            since = self.moved.setdefault(member.name, self.world.clock.now())
            if self.world.clock.now() - since > self.lasts:
                return Judgement(Verdict.INDETERMINATE, "it does not answer")
        return await super().member(member)


async def test_a_member_that_fails_later_ends_the_roll_with_its_wave() -> None:
    world = await a_world(WAVES)
    c = world.worker()
    c.canaries = {"local": Fading(world.provider, world.fleet, world)}
    with pytest.raises(RolledBackError, match="local/m0"):
        await plain_flows.rotate(c, world.clock.now())
    assert set(world.fleet.rolls) == {"m0"}, "nobody else was touched"
    first = world.first_key.material.fingerprint()
    assert {version.fingerprint for version in world.fleet.loaded.values() if version} == {first}


@dataclass
class Counters:
    """So many of a hundred requests a minute fail; `before`: what was counted when it is looked at first."""

    world: World
    failing: int
    broken: bool = False
    before: Counted = field(default_factory=lambda: Counted(5000, 4000))

    async def counted(self, member: Member) -> Counted:
        if self.broken:
            raise UnavailableError("the counters cannot be read")
        minutes = (self.world.clock.now() - self.world.begun).total_seconds() / 60  # type: ignore[attr-defined]
        return Counted(self.before.requests + 100 * minutes, self.before.failed + self.failing * minutes)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("failing", "stops"), [(0, False), (4, False), (9, True)])
async def test_a_wave_that_fails_too_many_requests_of_users_goes_back(failing: int, stops: bool) -> None:
    world = await a_world({**WAVES, "errors": {"most": "5%"}})
    world.begun = world.clock.now()  # type: ignore[attr-defined]
    c = world.worker()
    c.traffic = {"local": Counters(world, failing)}
    if not stops:
        await plain_flows.rotate(c, world.clock.now())
        return
    with pytest.raises(RolledBackError, match="requests of their users, and 5% are allowed"):
        await plain_flows.rotate(c, world.clock.now())
    assert set(world.fleet.rolls) == {"m0"}


async def test_a_wave_whose_counters_cannot_be_read_is_not_taken_for_good() -> None:
    world = await a_world({**WAVES, "errors": {"most": "5%"}})
    world.begun = world.clock.now()  # type: ignore[attr-defined]
    c = world.worker()
    c.traffic = {"local": Counters(world, 0, broken=True)}
    with pytest.raises(UnavailableError):
        await plain_flows.rotate(c, world.clock.now())
    assert set(world.fleet.rolls) <= {"m0"}


@pytest.mark.parametrize(
    ("before", "now", "since"),
    [
        (Counted(10, 2), Counted(30, 3), Counted(20, 1)),
        (Counted(10, 2), Counted(4, 0), Counted(4, 0)),
        (Counted(10, 2), Counted(40, 1), Counted(40, 1)),
    ],
)
def test_counters_begin_anew_with_a_program(before: Counted, now: Counted, since: Counted) -> None:
    assert now.since(before) == since


async def test_in_an_incident_nothing_is_waited_for() -> None:
    world = await a_world(WAVES)
    c = world.worker()
    await plain_flows.rotate(c, world.clock.now(), Reason.INCIDENT)
    assert told(c, "watched") == []


async def test_what_an_incident_left_is_finished_without_waiting() -> None:
    world = await a_world(WAVES)
    world.fleet.bad = {"m5"}
    with pytest.raises(RollFailedError):
        await plain_flows.rotate(world.worker(), world.clock.now(), Reason.INCIDENT)
    world.fleet.bad.clear()
    world.fleet.loaded["m0"] = world.fleet.loaded["m7"]  # fallen back meanwhile
    world.clock.forward(hours=1)
    c = world.worker()
    await plain_flows.rotate(c, world.clock.now(), Reason.SCHEDULED)
    assert told(c, "watched") == []
    assert told(c, ": rolling")[0] == "m0: rolling"


async def test_on_the_way_back_nothing_is_waited_for() -> None:
    world = await a_world(WAVES)
    world.fleet.bad = {"m5"}
    c = world.worker()
    with pytest.raises(RolledBackError):
        await plain_flows.rotate(c, world.clock.now())
    back = next(number for number, line in enumerate(c.timeline) if line.step == "rollback")
    assert [line.sentence for line in c.timeline[back:] if "watched" in line.sentence] == []


async def test_a_run_that_is_killed_anywhere_in_a_wave_rolls_nobody_twice() -> None:
    found = Findings()
    world = await a_world(WAVES)
    async with Scene.of("undisturbed", PLAIN) as scene:
        scene.world.settings = world.settings
        await restarted(scene.world.fleet, NAMES[:3])
        actor = scene.actor("A")
        await actor.run(scene.rotate(actor))
        rolls = [number for number, call in enumerate(actor.calls) if call.startswith(("fleet", "canary"))]
    for number in rolls:
        for fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER):
            async with Scene.of(f"A {fault.value} {number}", PLAIN) as scene:
                scene.world.settings = world.settings
                await restarted(scene.world.fleet, NAMES[:3])
                actor = scene.actor("A", {number: fault})
                await actor.run(scene.rotate(actor))
                await scene.finish()
                found.add(scene)
    found.demand_none(at_least=30)


async def test_fleets_side_by_side_stop_where_one_fails() -> None:
    world = await a_world({"fleets": "side_by_side"}, stores=2)
    world.fleets["local"].bad = {"m0"}
    with pytest.raises(RolledBackError, match="m0 did not come back"):
        await plain_flows.rotate(world.worker(), world.clock.now())
    first = world.first_key.material.fingerprint()
    for fleet in world.fleets.values():
        assert {version.fingerprint for version in fleet.loaded.values() if version} == {first}
    assert world.fleets["far"].rolls == [], "the other stopped, too"


async def test_fleets_side_by_side_are_all_moved() -> None:
    world = await a_world({"fleets": "side_by_side"}, stores=2)
    await plain_flows.rotate(world.worker(), world.clock.now())
    current = (await world.store.current(world.secret)).version
    assert all(version == current for fleet in world.fleets.values() for version in fleet.loaded.values())
    assert all(fleet.rolls == list(NAMES) for fleet in world.fleets.values())
