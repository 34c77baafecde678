"""What a sweep does with a credential, wherever it stands; what it leaves to a person; which keys it takes for strays."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, pairwise

import pytest

from flows.swept import State, Swept
from keyturn.errors import DeniedError, KeyturnError, LostAnswerError, UnavailableError
from keyturn.journal import Journal
from keyturn.lifecycle import Reason
from keyturn.model import CreatedKey, Stage, VersionRef, rotation_id
from keyturn.settings import SweepSettings
from keyturn.testing.explorer import Fault
from keyturn.testing.world import World, new_key
from tests.steps.plain_flows import rollback, rotate, sweep
from tests.steps.scene import PLAIN, TWO_STORES, Findings, Kind, Scene, calls_of_a_rotation

FAR = timedelta(days=400)


async def journal(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def swept(world: World, settings: SweepSettings | None = None) -> Swept:
    return await sweep(world.worker(), settings)


async def rotated(world: World) -> None:
    world.clock.forward(seconds=2)
    await rotate(world.worker(), world.clock.now())


def serve(world: World) -> set[str]:
    return {version.fingerprint for version in world.fleet.loaded.values() if version}


# What is half-way, overdue, due.


@pytest.mark.parametrize("kind", [PLAIN, TWO_STORES], ids=str)
async def test_a_sweep_finishes_what_died_anywhere(kind: Kind) -> None:
    """By itself and in one go: the next one finds nothing to do, and after the overlap there is one key."""
    found, calls = Findings(), await calls_of_a_rotation(kind)
    for number, call in enumerate(calls):
        for fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER):
            async with Scene.of(f"A {fault.value} {number} {call}", kind) as scene:
                actor = scene.actor("A", {number: fault})
                await actor.run(scene.rotate(actor))
                for after in (timedelta(hours=2), timedelta(hours=2), timedelta(hours=3)):
                    sweeper = scene.actor("S")
                    row = await sweeper.run(scene.sweep(sweeper))
                    if not row.is_well:
                        scene.complain(f"{row.state}: {row.sentence} {row.drift}")
                    scene.watch()
                    scene.world.clock.forward(seconds=after.total_seconds())
                if len(scene.world.provider.keys) != 1:
                    scene.complain(f"{len(scene.world.provider.keys)} keys are left")
                found.add(scene)
    found.demand_none(at_least=30)


async def test_a_sweep_right_after_a_success_does_nothing() -> None:
    world = await World.make(max_age="30d")
    row = await swept(world)
    assert row.state is State.DONE and world.provider.made == 2, "never rotated, and by age: due at once"
    calls = world.fleet.rolls[:]
    for _ in range(3):
        world.clock.forward(minutes=10)
        assert (await swept(world)).state is State.WAITING
    assert world.provider.made == 2 and world.fleet.rolls == calls


async def test_a_sweep_retires_what_is_overdue_and_rotates_what_is_due() -> None:
    world = await World.make(max_age="30d")
    await swept(world)
    world.clock.forward(hours=2)
    row = await swept(world)
    assert row.state is State.DONE and "refused" in row.sentence
    assert len(world.provider.keys) == 1
    world.clock.forward(days=29)
    assert (await swept(world)).state is State.QUIET
    world.clock.forward(days=2)
    assert (await swept(world)).state is State.DONE
    assert world.provider.made == 3


async def test_what_nobody_scheduled_is_never_begun() -> None:
    world = await World.make()
    world.clock.forward(days=900)
    assert (await swept(world)) == Swept("openai-prod", State.QUIET, "not due")
    assert world.provider.made == 1


# Failures.


async def test_a_credential_that_fails_is_tried_again_later_and_later_and_then_parked() -> None:
    world = await World.make(max_age="30d")
    world.provider.fail["create"] = DeniedError("no more keys in this project")
    states: list[State] = []
    tries: list[datetime] = []
    for _ in range(24 * 12):
        failures = (await journal(world)).failures
        states.append((await swept(world)).state)
        if (await journal(world)).failures > failures:
            tries.append(world.clock.now())
        world.clock.forward(minutes=5)
    assert len(tries) == 5, "and then nothing more"
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses) and pauses[-1] > 2 * pauses[0]
    assert states[-1] is State.PARKED
    row = await swept(world)
    assert row.sentence == "parked: 5 runs in a row failed: no more keys in this project"
    assert not row.is_well
    assert world.provider.made == 1


async def test_a_parked_credential_goes_on_when_a_person_has_rotated_it() -> None:
    world = await World.make(max_age="30d")
    world.provider.fail["create"] = DeniedError("no more keys")
    for _ in range(5):
        with pytest.raises(DeniedError):
            await rotated(world)
    assert (await swept(world)).state is State.PARKED
    world.provider.fail.clear()
    await rotated(world)
    assert (await journal(world)) == replace(await journal(world), failures=0, failed_at=None, failure="", parked="")
    world.clock.forward(days=31)
    assert (await swept(world)).state is State.DONE, "its old key is retired"
    assert (await swept(world)).state is State.DONE, "and it is rotated by itself again"
    assert world.provider.made == 3


async def test_a_value_that_can_never_work_is_not_tried_for_ever() -> None:
    world = await World.make(max_age="30d")
    world.provider.refuses_new = True
    for _ in range(24 * 12 * 3):
        await swept(world)
        world.clock.forward(minutes=5)
    assert world.provider.made == 1 + 5, "so many fresh keys were tried"
    assert len(world.provider.keys) == 1, "and each was revoked"
    assert (await swept(world)).state is State.PARKED


async def test_a_revoke_that_fails_is_a_failure_of_its_own_and_makes_no_second_key() -> None:
    world = await World.make(max_age="30d")
    world.provider.fail["revoke"] = UnavailableError("500")
    for _ in range(24 * 12 * 3):
        await swept(world)
        world.clock.forward(minutes=5)
    assert world.provider.made == 2
    assert (await swept(world)).sentence == "parked: 5 runs in a row failed: 500"
    assert serve(world) == {(await world.store.current(world.secret)).version.fingerprint}


async def test_a_store_that_does_not_answer_is_a_row_and_no_more() -> None:
    world = await World.make(max_age="30d")
    stages = world.store.stages

    async def sealed(*_: object) -> None:
        raise UnavailableError("the store is sealed")

    world.store.stages = sealed  # type: ignore[method-assign, assignment]
    row = await swept(world)
    assert row.state is State.UNSEEN and "the store is sealed" in row.sentence
    world.store.stages = stages  # type: ignore[method-assign]
    assert (await swept(world)).state is State.DONE, "and the next sweep goes on"


async def test_a_fault_of_ours_is_a_row_without_its_text() -> None:
    world = await World.make(max_age="30d")
    text = new_key().reveal()

    async def breaks(*_: object) -> None:
        raise RuntimeError(text)

    world.store.stages = breaks  # type: ignore[method-assign, assignment]
    row = await swept(world)
    assert row.state is State.FAILED and "RuntimeError at" in row.sentence and text not in row.sentence


# Strays.


async def stray(world: World, *, fp: str = "gone", attempt: int = 0) -> CreatedKey:
    """A key of ours whose run died before it could stage it: of the rotation away from this value."""
    mark = world.worker().mark
    return await world.provider.create(mark.label(rotation_id(mark, fp, attempt)))


async def test_a_stray_that_is_old_enough_is_revoked() -> None:
    world = await World.make()
    left = await stray(world)
    assert (await swept(world)).strays == ()
    world.clock.forward(minutes=61)
    assert (await swept(world)).strays == (left.ref.id,)
    assert list(world.provider.keys) == [world.first_key.ref.id]
    assert (await swept(world)).is_well


async def test_only_keys_with_our_mark_are_strays() -> None:
    world = await World.make()
    names = [
        "keyturn-openai-prod-abcdef-0123456789ab",
        "keyturn-openai-prod",
        "production",
        "keyturn-other-abcdef-0123456789ab",
    ]
    others = [world.provider.add(new_key(), name) for name in names]
    world.clock.forward(days=9)
    assert (await swept(world)).strays == ()
    assert all(key.ref.id in world.provider.keys for key in others)


async def test_a_key_that_cannot_be_explained_is_told_and_left() -> None:
    world = await World.make()
    used, ageless = await stray(world), await stray(world, fp="other")
    world.provider.used(used.ref.id)
    world.provider.keys[ageless.ref.id] = (replace(ageless.ref, created_at=None), ageless.material)
    world.clock.forward(days=1)
    row = await swept(world)
    assert row.strays == () and not row.is_well
    assert any("it has been used" in each and used.ref.id in each for each in row.drift)
    assert any("does not tell its age" in each and ageless.ref.id in each for each in row.drift)


async def test_a_key_that_a_secret_holds_is_no_stray_although_no_note_claims_it() -> None:
    """The notes were lost: a restored backup, a tag that somebody removed."""
    world = await World.make()
    await rotated(world)
    await world.store.annotate(world.secret, dict.fromkeys(await world.store.annotations(world.secret)))
    world.provider.capabilities = replace(world.provider.capabilities, reports_last_use=False)
    for key_id, (ref, material) in list(world.provider.keys.items()):
        world.provider.keys[key_id] = (replace(ref, last_used_at=None), material)
    world.clock.forward(days=1)
    row = await swept(world)
    assert row.strays == () and any("a secret may hold it" in each for each in row.drift)
    assert len(world.provider.keys) == 2


async def test_a_hint_that_shows_too_little_rules_nothing_out() -> None:
    world = await World.make()
    left = await stray(world)
    world.provider.keys[left.ref.id] = (replace(left.ref, hint="sk-..."), left.material)
    world.clock.forward(days=1)
    assert (await swept(world)).strays == (), "the value in the secret is claimed by no note either"


async def test_while_a_member_serves_what_nobody_knows_no_key_is_a_stray() -> None:
    world = await World.make()
    left = await stray(world)
    world.fleet.loaded["one"] = VersionRef("?", left.material.fingerprint())
    world.clock.forward(days=1)
    row = await swept(world)
    assert row.strays == () and any("a member serves a value" in each for each in row.drift)


async def test_where_the_provider_tells_no_use_every_member_has_to_be_asked() -> None:
    world = await World.make()
    await stray(world)
    world.provider.capabilities = replace(world.provider.capabilities, reports_last_use=False)
    world.fleet.loaded["one"] = None
    world.clock.forward(days=1)
    assert (await swept(world)).strays == ()
    world.fleet.loaded["one"] = (await world.store.current(world.secret)).version
    assert len((await swept(world)).strays) == 1


async def test_a_maker_that_slept_through_the_sweep_brings_no_dead_key_into_service() -> None:
    """At every point: it sleeps with its key in hand, and wakes while the sweep is about to revoke that key."""
    found = Findings()
    for number in count():
        async with Scene.of(f"the sweep to {number}, then the maker to its end") as scene:
            maker = scene.actor("maker")
            maker.start(scene.rotate(maker))
            assert await maker.until(before="store memory.stage")
            scene.world.clock.forward(hours=3)
            sweeper = scene.actor("sweeper")
            sweeper.start(scene.sweep(sweeper))
            goes_on = await sweeper.until(calls=number)
            await maker.end()
            scene.watch()
            await sweeper.end()
            scene.watch()
            scene.world.clock.forward(hours=3)
            await scene.finish(runs=3, asked=scene.world.clock.now())
            found.add(scene)
        if not goes_on:
            break
    found.demand_none(at_least=10)


async def test_the_rotation_whose_stray_was_revoked_gets_another_id() -> None:
    world = await World.make()
    await stray(world, fp=world.first_key.material.fingerprint())
    world.clock.forward(days=1)
    assert len((await swept(world)).strays) == 1
    await rotated(world)
    assert world.provider.made == 3, "at the first try"


async def test_a_lost_create_is_swept_where_its_rotation_never_came_to_an_end() -> None:
    world = await World.make()
    world.provider.lose_answers = 3
    with pytest.raises(LostAnswerError):
        await rotated(world)
    assert len(world.provider.keys) == 4
    world.change_by_hand(world.provider.add(new_key(), "by hand").material)
    world.clock.forward(days=1)
    assert len((await swept(world)).strays) == 3
    assert world.provider.accepts((await world.store.current(world.secret)).material)


# Drift.


async def test_a_value_that_a_person_has_set_is_told() -> None:
    world = await World.make()
    await rotated(world)
    assert (await swept(world)).drift == ()
    world.change_by_hand(world.provider.add(new_key(), "by hand").material)
    assert any("somebody has changed the current value of memory:litellm" in each for each in (await swept(world)).drift)


async def test_a_member_that_fell_back_is_told_and_rolled() -> None:
    world = await World.make()
    await rotated(world)
    world.fleet.loaded["one"] = (await world.store.stages(world.secret))[Stage.PREVIOUS]
    row = await swept(world)
    assert row.drift == ("local/one does not hold the current value",) and row.state is State.DONE
    assert (await swept(world)).is_well


async def test_a_second_store_that_was_changed_is_told_and_brought_back() -> None:
    world = await World.make(stores=2)
    await rotated(world)
    world.change_by_hand(world.provider.add(new_key(), "by hand").material, store=1)
    row = await swept(world)
    assert any("second:" in each for each in row.drift) and row.state is State.DONE
    assert (await swept(world)).is_well


async def test_a_silent_member_is_told() -> None:
    world = await World.make()
    await rotated(world)
    world.fleet.loaded["two"] = None
    assert (await swept(world)).drift == ("local/two cannot be asked what it serves",)


async def test_a_dead_key_in_service_is_told_and_nothing_is_done_for_it() -> None:
    """A provider that refuses every key for a while must not have every key replaced."""
    world = await World.make()
    await rotated(world)
    world.clock.forward(hours=2)
    await swept(world)
    world.provider.keys.clear()
    row = await swept(world)
    assert row.state is State.QUIET and world.provider.made == 2
    assert any("does not list" in each for each in row.drift)
    assert any("--reason incident" in each for each in row.drift)


async def test_what_is_under_way_is_no_drift() -> None:
    async with Scene.of("promoted, and not rolled") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="fleet local.roll")
        await actor.bury()
        row = await swept(scene.world)
        assert row.drift == () and row.state is State.DONE


async def test_what_was_rolled_back_by_hand_is_left_alone() -> None:
    world = await World.make(max_age="30d")
    await rotated(world)
    await rollback(world.worker())
    world.clock.forward(days=90)
    row = await swept(world)
    assert row.state is State.PARKED and "rolled back: by hand" in row.sentence


# Bursts.


async def test_a_burst_of_late_runs_rotates_once() -> None:
    """After an outage every scheduled run that was missed is started, and sweeps between them."""
    world = await World.make()
    ticks = [world.clock.now() + timedelta(days=7 * week) for week in range(5)]
    world.clock.forward(days=40)
    for tick in ticks:
        await rotate(world.worker(), tick, Reason.SCHEDULED)
        await swept(world)
    assert world.provider.made == 2 and world.fleet.rolls == ["one", "two"]


async def test_a_burst_of_late_runs_that_fail_tries_once() -> None:
    world = await World.make()
    ticks = [world.clock.now() + timedelta(days=7 * week) for week in range(5)]
    world.clock.forward(days=40)
    world.provider.fail["create"] = DeniedError("no more keys")
    failed = 0
    for tick in ticks:
        try:
            await rotate(world.worker(), tick, Reason.SCHEDULED)
        except KeyturnError:
            failed += 1
    assert failed == 1 and (await journal(world)).failures == 1


async def test_two_sweeps_at_once_make_one_rotation() -> None:
    found = Findings()
    for first in range(0, 60, 3):
        async with Scene.of(f"the first to {first}", Kind("aged")) as scene:
            scene.world.settings = scene.world.settings.model_copy(update={"max_age": timedelta(days=30)})
            a, b = scene.actor("A"), scene.actor("B")
            a.start(scene.sweep(a))
            b.start(scene.sweep(b))
            await a.until(calls=first)
            await b.end()
            await a.end()
            scene.watch()
            scene.world.clock.forward(hours=3)
            await scene.finish(runs=3, asked=scene.asked)
            found.add(scene)
    found.demand_none(at_least=20)
