"""A provider that gives a key a new text: the key stays, and its old text ends by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flows.outcome import Outcome, Result
from keyturn.errors import KeyturnError, LostAnswerError, PermanentError, RejectedError
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Decision, Reason, Step
from keyturn.model import Stage
from keyturn.settings import SweepSettings
from keyturn.steps.create import create
from keyturn.steps.observe import begin
from keyturn.steps.preflight import PreflightError
from keyturn.testing.memory_in_place import MemoryInPlace
from keyturn.testing.world import World
from tests.steps import plain_flows


async def in_place() -> tuple[World, MemoryInPlace]:
    world = await World.make(provider_of=MemoryInPlace)
    assert isinstance(world.provider, MemoryInPlace)
    return world, world.provider


async def rotate(world: World, reason: Reason = Reason.MANUAL) -> Outcome:
    world.clock.forward(seconds=1)
    return await plain_flows.rotate(world.worker(), world.clock.now(), reason)


async def journal_of(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def current(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


async def test_the_key_stays_and_its_old_text_ends_by_itself() -> None:
    world, provider = await in_place()
    first = world.first_key
    outcome = await rotate(world)
    assert outcome.result is Result.ROTATED
    assert list(provider.keys) == [first.ref.id] and provider.turns == 1
    assert outcome.retire_after is not None, "not before the provider ends the old text, though the overlap is shorter"
    assert outcome.retire_after >= provider.fading[first.ref.id][1].replace(microsecond=0)
    assert provider.accepts(first.material)
    world.clock.forward(hours=3)
    retired = await plain_flows.retire(world.worker(), world.clock.now())
    assert retired.result is Result.RETIRED and not provider.accepts(first.material)
    assert provider.revoked == [] and provider.disabled == set()
    assert (await world.store.stages(world.secret)).keys() == {Stage.CURRENT}
    assert (await journal_of(world)).turned is None


async def test_each_rotation_turns_the_same_key_again() -> None:
    world, provider = await in_place()
    for _ in range(3):
        await rotate(world)
        world.clock.forward(hours=3)
        await plain_flows.retire(world.worker(), world.clock.now())
    assert provider.turns == 3 and list(provider.keys) == [world.first_key.ref.id]


async def test_a_turn_whose_answer_was_lost_is_not_tried_again_and_a_key_of_its_own_is_made() -> None:
    world, provider = await in_place()
    provider.lose_answers = 1
    assert (await rotate(world)).result is Result.ROTATED
    assert provider.turns == 1 and len(provider.keys) == 2
    world.clock.forward(hours=3)
    assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED
    assert provider.revoked == [world.first_key.ref.id]


async def test_a_key_is_deleted_though_its_old_text_lives_while_it_is_disabled() -> None:
    """Else a text that was lost would live as long as the old one: days."""
    world, provider = await in_place()
    provider.capabilities, provider.disabling_ends_both = replace(provider.capabilities, can_disable=True), False
    provider.lose_answers = 1
    await rotate(world)
    world.clock.forward(minutes=61)
    assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED
    assert provider.revoked == [world.first_key.ref.id] and not provider.accepts(world.first_key.material)


async def test_while_an_old_text_lives_that_members_may_serve_its_key_is_not_turned_again() -> None:
    """A worker that slept since before a rotation began takes the new value for one that is due."""
    world, provider = await in_place()
    await rotate(world)
    turn = await begin(world.worker(), Asked(world.clock.now()))
    await create(world.worker(), replace(turn, decision=Decision(Step.CREATE, "due", "as if")))
    assert provider.turns == 1 and provider.accepts(world.first_key.material)


async def test_a_sweep_goes_on_at_once_from_a_turn_that_nothing_came_of() -> None:
    """No schedule says that it is due; and a person's word that nothing is to be begun does not keep it from ending."""
    world, provider = await in_place()
    provider.lose_answers = 1
    with pytest.raises(LostAnswerError):
        await create(world.worker(), await begin(world.worker(), Asked(world.clock.now())))
    await world.store.annotate(world.secret, {"parked": "by hand"})
    world.clock.forward(minutes=10)
    await plain_flows.sweep(world.worker(), SweepSettings())
    assert await current(world) != world.first_key.material.fingerprint()


async def test_a_new_text_that_is_refused_is_given_up_and_its_key_is_left_alone() -> None:
    """Deleting the key would end the text in service with it."""
    world, provider = await in_place()
    provider.refuses_new = True
    with pytest.raises(RejectedError):
        await rotate(world)
    assert provider.asked_to_delete == [] and provider.accepts(world.first_key.material)
    assert (await world.store.stages(world.secret)).keys() == {Stage.CURRENT}
    provider.refuses_new = False
    assert (await rotate(world)).result is Result.ROTATED
    assert len(provider.keys) == 2, "the old text has its end: a key of its own was made"


async def test_in_an_incident_the_whole_key_is_replaced_and_deleted() -> None:
    world, provider = await in_place()
    outcome = await rotate(world, Reason.INCIDENT)
    assert outcome.result is Result.RETIRED and provider.turns == 0
    assert provider.revoked == [world.first_key.ref.id]


async def test_an_incident_in_the_overlap_ends_both_texts_of_the_key() -> None:
    world, provider = await in_place()
    await rotate(world)
    leaked = (await world.store.current(world.secret)).material
    assert (await rotate(world, Reason.INCIDENT)).result is Result.RETIRED
    assert not provider.accepts(leaked) and not provider.accepts(world.first_key.material)
    assert provider.revoked == [world.first_key.ref.id]


async def test_the_use_of_the_new_text_does_not_speak_against_the_old_one() -> None:
    world, provider = await in_place()
    await rotate(world)
    world.clock.forward(hours=3)
    provider.used(world.first_key.ref.id)
    assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED


async def test_an_old_text_that_does_not_end_when_it_was_to_is_looked_at_again_and_the_key_is_spared() -> None:
    world, provider = await in_place()
    await rotate(world)
    text, ends = provider.fading[world.first_key.ref.id]
    provider.fading[world.first_key.ref.id] = (text, ends + timedelta(hours=2))
    world.clock.forward(hours=2, minutes=1)
    waits = await plain_flows.retire(world.worker(), world.clock.now())
    assert waits.result is not Result.RETIRED and "has not yet" in waits.sentence and provider.asked_to_delete == []
    world.clock.forward(hours=2)
    assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED


async def test_after_a_rollback_for_good_the_text_that_ends_is_replaced_all_the_same() -> None:
    world, provider = await in_place()
    await rotate(world)
    await plain_flows.rollback(world.worker())
    assert await current(world) == world.first_key.material.fingerprint()
    turn = await begin(world.worker(), Asked(world.clock.now(), Reason.SCHEDULED))
    assert turn.decision.check == "turned"
    await plain_flows.sweep(world.worker(), SweepSettings())
    world.clock.forward(hours=3)
    assert provider.accepts((await world.store.current(world.secret)).material)


async def test_an_old_text_that_would_end_before_the_overlap_stops_the_rotation_before_anything_is_made() -> None:
    world, provider = await in_place()
    provider.old_text_lives = timedelta(hours=1, minutes=30)
    with pytest.raises(PreflightError, match="set a longer `in_place`"):
        await rotate(world)
    assert provider.turns == 0


async def test_where_the_old_text_ends_at_once_the_new_one_is_rolled_all_the_same() -> None:
    world, provider = await in_place()
    provider.old_text_lives = timedelta(0)
    assert (await rotate(world)).result is Result.ROTATED
    assert not provider.accepts(world.first_key.material)
    assert provider.accepts((await world.store.current(world.secret)).material)


@pytest.mark.parametrize("lost", ["stage", "annotate"])
async def test_where_the_store_fails_on_the_way_to_a_turn_nothing_is_turned_later(lost: str) -> None:
    world, provider = await in_place()
    whole = getattr(world.store, lost)

    async def fails(*args: object, **kwargs: object) -> None:
        await whole(*args, **kwargs)
        raise PermanentError("the store fell over")

    setattr(world.store, lost, fails)
    with pytest.raises(KeyturnError):
        await rotate(world)
    delattr(world.store, lost)
    assert (await rotate(world)).result is Result.ROTATED
    assert provider.turns == 0 and len(provider.keys) == 2
