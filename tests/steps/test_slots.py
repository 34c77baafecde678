"""A provider with two keys that always exist: the idle one is made anew, and a third is never asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.outcome import Result
from keyturn.errors import ConflictError, MisconfiguredError
from keyturn.lifecycle import Asked, Decision, Reason, Step
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Stage, Verdict
from keyturn.steps.create import create
from keyturn.steps.observe import Turn, begin
from keyturn.testing.world import MemorySlots, World
from tests.steps import plain_flows


async def slots() -> World:
    return await World.make(provider_of=MemorySlots)


def texts(world: World) -> dict[str, KeyMaterial]:
    return {id.partition(":")[0]: material for id, (_, material) in world.provider.keys.items()}


async def rotate(world: World, reason: Reason = Reason.MANUAL) -> Result:
    world.clock.forward(seconds=1)
    return (await plain_flows.rotate(world.worker(), world.clock.now(), reason)).result


async def retire(world: World) -> Result:
    world.clock.forward(hours=2)
    return (await plain_flows.retire(world.worker(), world.clock.now())).result


async def test_rotations_go_from_slot_to_slot() -> None:
    world = await slots()
    before = texts(world)
    assert await rotate(world) is Result.ROTATED
    between = texts(world)
    assert between["slot1"] == before["slot1"] and between["slot2"] != before["slot2"]
    assert (await world.store.current(world.secret)).material == between["slot2"]
    assert await retire(world) is Result.RETIRED
    assert texts(world)["slot1"] != before["slot1"], "the old key is refused: its slot was made anew"
    assert await rotate(world) is Result.ROTATED
    assert (await world.store.current(world.secret)).material == texts(world)["slot1"]
    assert texts(world)["slot2"] == between["slot2"]


async def test_while_both_keys_are_held_there_is_no_third() -> None:
    world = await slots()
    await rotate(world)
    both = texts(world)
    turn = await begin(world.worker(), Asked(world.clock.now()))
    assert not turn.seen.room
    with pytest.raises(ConflictError, match="both keys"):
        await create(world.worker(), _as_new(turn))
    assert texts(world) == both


async def test_a_value_that_is_neither_of_the_two_stops_the_rotation_before_anything_is_made() -> None:
    world = await slots()
    both = texts(world)
    world.change_by_hand(KeyMaterial("sk-of-another-account"))
    world.fleet.loaded.clear()
    with pytest.raises(MisconfiguredError, match="neither of the provider's two keys"):
        await rotate(world)
    assert texts(world) == both


async def test_where_the_key_in_service_was_made_anew_by_somebody_the_next_rotation_brings_another() -> None:
    """By a person in the vendor's console, or by a call of a worker's that arrived late: no slot holds what is served."""
    world = await slots()
    await rotate(world)
    await retire(world)
    in_service = (await world.store.current(world.secret)).material
    [(ref, _)] = [each for each in world.provider.keys.values() if each[1] == in_service]
    await world.provider.revoke(ref)
    assert not world.provider.accepts(in_service)
    await rotate(world)
    current = (await world.store.current(world.secret)).material
    assert world.provider.accepts(current) and current in texts(world).values()


async def test_a_key_of_ours_that_is_in_no_slot_and_is_accepted_all_the_same_stops_the_rotation() -> None:
    """Then the settings lead to another account than they did."""
    world = await slots()
    await rotate(world)
    await retire(world)
    for ref, _ in list(world.provider.keys.values()):
        await world.provider.revoke(ref)
    other = texts(world)
    for verdict in (Verdict.ACCEPTED, Verdict.INDETERMINATE):
        world.provider.verdict = Judgement(verdict, "what the other account says")
        with pytest.raises(MisconfiguredError, match="neither of the provider's two keys"):
            await rotate(world)
    assert texts(world) == other


async def test_an_incident_in_the_overlap_replaces_both() -> None:
    world = await slots()
    await rotate(world)
    leaked = texts(world)
    assert await rotate(world, Reason.INCIDENT) is Result.RETIRED
    assert not {material.fingerprint() for material in texts(world).values()} & {m.fingerprint() for m in leaked.values()}
    assert (await world.store.stages(world.secret)).keys() == {Stage.CURRENT}


def _as_new(turn: Turn) -> Turn:
    return replace(turn, decision=Decision(Step.CREATE, "due", "as if"))
