"""A key that passes everywhere but in one member: the roll ends there, before the next one is touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flows.outcome import Result
from keyturn.errors import (
    DeniedError,
    EvidenceMissingError,
    RolledBackError,
    RollFailedError,
    UnavailableError,
    UndecidedError,
)
from keyturn.lifecycle import Reason
from keyturn.model import Judgement, Member, Stage, Verdict
from keyturn.ports import Canary
from keyturn.testing.memory_workloads import MemoryWorkloads
from keyturn.testing.world import MemoryCanary, MemoryFleet, MemoryProvider, World
from tests.steps.plain_flows import rotate

FORBIDDEN = Judgement(Verdict.INDETERMINATE, "the provider forbids the call (403)")
REFUSED = Judgement(Verdict.REJECTED, "the provider refuses the key (401)")
OUTAGE = Judgement(Verdict.INDETERMINATE, "the provider fails (5xx)")


async def of_three(fleet_of: type[MemoryFleet] = MemoryFleet) -> World:
    world = await World.make(fleet_of=fleet_of)
    world.fleet.names = ("one", "two", "three")
    await world.fleet.start()
    return world


def in_member(world: World, name: str, told: Judgement) -> None:
    """A call through it ends so with every key but the first."""
    world.fleet.answers[name, None] = told
    world.fleet.answers[name, world.first_key.material.fingerprint()] = Judgement(Verdict.ACCEPTED, "with the old key")


async def rotated(world: World, reason: Reason = Reason.MANUAL) -> Result:
    world.clock.forward(seconds=2)
    return (await rotate(world.worker(), world.clock.now(), reason)).result


async def current(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


def served(world: World) -> set[str]:
    return {version.fingerprint for version in world.fleet.loaded.values() if version}


@pytest.mark.parametrize("told", [FORBIDDEN, REFUSED])
async def test_the_roll_stops_at_that_member_and_everything_is_back_on_the_old_key(told: Judgement) -> None:
    world = await of_three()
    in_member(world, "two", told)
    with pytest.raises(
        RolledBackError, match=r"local/two does not answer .*; local/three, which was not moved yet, answers"
    ):
        await rotated(world)
    assert world.fleet.rolls == ["one", "two", "one", "two"], "three was never touched"
    assert served(world) == {world.first_key.material.fingerprint()} == {await current(world)}
    assert world.provider.revoked == []


async def test_the_last_member_is_compared_with_those_that_were_moved() -> None:
    world = await of_three()
    in_member(world, "three", FORBIDDEN)
    with pytest.raises(RolledBackError, match="local/three does not answer"):
        await rotated(world)
    assert served(world) == {world.first_key.material.fingerprint()}


async def test_of_a_single_member_only_a_refusal_goes_back() -> None:
    for told, error in ((FORBIDDEN, EvidenceMissingError), (REFUSED, RolledBackError)):
        world = await World.make()
        world.fleet.names = ("one",)
        world.fleet.loaded.clear()
        await world.fleet.start()
        in_member(world, "one", told)
        with pytest.raises(error):
            await rotated(world)


async def test_in_an_outage_nobody_else_is_moved_and_nothing_is_taken_back() -> None:
    world = await of_three()
    for name in world.fleet.names:
        world.fleet.answers[name, None] = OUTAGE
    with pytest.raises(UndecidedError, match="nor does any other member"):
        await rotated(world)
    assert world.fleet.rolls == ["one"]
    assert await current(world) != world.first_key.material.fingerprint()
    world.fleet.answers.clear()
    await rotated(world)
    assert world.provider.made == 2 and served(world) == {await current(world)}


async def test_what_may_pass_is_looked_at_again() -> None:
    world = await of_three()
    in_member(world, "two", OUTAGE)
    c = world.worker()
    pause = c.pause

    async def passes(seconds: float) -> None:
        world.fleet.answers.clear()
        await pause(seconds)

    c.pause = passes
    await rotate(c, world.clock.now())
    assert world.fleet.rolls == ["one", "two", "three"] and served(world) == {await current(world)}


async def test_where_the_old_key_is_refused_there_is_nothing_to_lose() -> None:
    """Somebody has deleted it already: each member that is moved is one that works again."""
    world = await of_three()
    world.provider.dud.add(world.first_key.ref.id)
    world.fleet.answers["one", None] = FORBIDDEN
    with pytest.raises(EvidenceMissingError, match="local/one"):
        await rotated(world)
    assert world.fleet.rolls == ["one", "two", "three"]


async def test_in_an_incident_the_next_run_goes_past_the_member_that_does_not_take_it() -> None:
    world = await of_three()
    in_member(world, "one", FORBIDDEN)
    asked = world.clock.now()
    with pytest.raises(RollFailedError, match="local/one does not answer"):
        await rotate(world.worker(), asked, Reason.INCIDENT)
    assert world.fleet.rolls == ["one"] and await current(world) != world.first_key.material.fingerprint()
    with pytest.raises(EvidenceMissingError):
        await rotate(world.worker(), asked, Reason.INCIDENT)
    assert world.fleet.rolls == ["one", "two", "three"]


async def test_a_member_that_was_moved_by_a_run_that_died_is_asked_before_the_next_one_is_moved() -> None:
    world = await of_three()
    in_member(world, "one", FORBIDDEN)
    roll = world.fleet.roll

    async def dies_after(*words: object) -> None:
        await roll(*words)  # type: ignore[arg-type]
        raise UnavailableError("the run is gone")

    world.fleet.roll = dies_after  # type: ignore[method-assign, assignment]
    c = world.worker()
    with pytest.raises(RollFailedError):  # by the step's own retries
        await rotate(c, world.clock.now())
    assert set(world.fleet.rolls) == {"one"}


async def test_a_member_that_cannot_be_asked_is_left_to_the_proof() -> None:
    world = await of_three()
    c = world.worker()
    ask = c.canary.member

    async def denied(member: object) -> Judgement:
        if getattr(member, "name", "") == "one":
            raise DeniedError("the proxy refuses our master key")
        return await ask(member)  # type: ignore[arg-type]

    c.canary.member = denied  # type: ignore[method-assign]
    with pytest.raises(EvidenceMissingError, match="refuses our master key"):
        await rotate(c, world.clock.now())
    assert world.fleet.rolls == ["one", "two", "three"]


async def test_a_member_that_its_platform_has_just_made_is_asked_too() -> None:
    world = await of_three(MemoryWorkloads)
    in_member(world, "two", FORBIDDEN)
    with pytest.raises(RolledBackError, match="local/two does not answer"):
        await rotated(world)
    assert "three" not in world.fleet.rolls[:2]
    assert served(world) == {world.first_key.material.fingerprint()}
    assert Stage.PENDING not in await world.store.stages(world.secret)


class Moving(MemoryFleet):
    """As containers do: a member has another address after each roll, and nobody answers at the one before."""

    async def members(self) -> Sequence[Member]:
        return [Member(name, self.url(name)) for name in self.names]

    def url(self, name: str) -> str:
        return f"memory:{name}:{self.rolls.count(name)}"

    def canary(self, provider: MemoryProvider) -> Canary:
        return AtItsAddress(provider, self)


class AtItsAddress(MemoryCanary):
    async def member(self, member: Member) -> Judgement:
        fleet = self.fleet
        assert isinstance(fleet, Moving)
        if member.url != fleet.url(member.name):
            raise UnavailableError(f"{member.name} at {member.url} cannot be asked")
        return await super().member(member)


async def test_a_member_that_has_moved_to_another_address_is_asked_there() -> None:
    world = await of_three(Moving)
    assert await rotated(world) is Result.ROTATED
    assert world.fleet.rolls == ["one", "two", "three"] and served(world) == {await current(world)}
