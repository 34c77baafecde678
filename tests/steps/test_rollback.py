"""The members do not take the new key: the previous one is served again, and nothing is lost by that, or made twice."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from flows.outcome import Result
from keyturn.errors import (
    ConflictError,
    DeniedError,
    NotFoundError,
    ParkedError,
    RejectedError,
    RolledBackError,
    RollFailedError,
    UnavailableError,
)
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Reason
from keyturn.model import Judgement, Stage, Verdict
from keyturn.steps.observe import begin
from keyturn.testing.explorer import Fault
from keyturn.testing.world import World, new_key
from tests.steps.plain_flows import retire, rollback, rotate
from tests.steps.scene import PLAIN, TWO_STORES, Findings, Kind, Scene


async def journal(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def serve(world: World) -> set[str]:
    """The fingerprints of what all members of all fleets serve."""
    return {version.fingerprint for fleet in world.fleets.values() for version in fleet.loaded.values() if version}


async def rotated(world: World, reason: Reason = Reason.MANUAL) -> None:
    world.clock.forward(seconds=2)
    await rotate(world.worker(), world.clock.now(), reason)


async def refused_by(world: World, *members: str, reason: Reason = Reason.MANUAL) -> None:
    """A rotation that these members do not take."""
    world.fleet.bad |= set(members)
    with pytest.raises(RollFailedError):
        await rotated(world, reason)
    world.fleet.bad.clear()


async def test_what_an_incident_left_is_not_rolled_back_by_the_sweep_that_finishes_it() -> None:
    """It is asked for by nobody, so that its own reason tells nothing of a leak."""
    world = await World.make()
    await refused_by(world, "two", reason=Reason.INCIDENT)
    world.fleet.bad = {"two"}
    world.clock.forward(minutes=20)
    with pytest.raises(RollFailedError) as caught:
        await rotate(world.worker(), world.clock.now(), Reason.SCHEDULED)
    assert not isinstance(caught.value, RolledBackError)
    current = (await world.store.current(world.secret)).version.fingerprint
    assert current != world.first_key.material.fingerprint(), "the key that may have leaked is not told to be used again"
    world.fleet.bad.clear()
    world.clock.forward(hours=1)
    await rotate(world.worker(), world.clock.now(), Reason.SCHEDULED)
    assert await serve(world) == {current}


async def test_the_roll_stops_at_the_first_bad_member_and_those_before_it_are_rolled_back() -> None:
    world = await World.make()
    world.fleet.names = ("one", "two", "three")
    await world.fleet.start()
    world.fleet.bad = {"two"}
    c = world.worker()
    with pytest.raises(RolledBackError, match="the previous key is served again by every member"):
        await rotate(c, world.clock.now())
    assert world.fleet.rolls == ["one", "one"], "one there and back, three never"
    assert (await world.store.current(world.secret)).material == world.first_key.material
    assert await serve(world) == {world.first_key.material.fingerprint()}
    assert world.provider.accepts(world.first_key.material) and world.provider.revoked == []
    assert any(line.step == "rollback" for line in c.timeline)


async def test_the_next_run_tries_the_same_key_again_and_creates_none() -> None:
    world = await World.make()
    await refused_by(world, "two")
    made = world.provider.made
    await rotated(world)
    assert world.provider.made == made
    assert await serve(world) == {(await world.store.current(world.secret)).version.fingerprint}
    assert world.first_key.material.fingerprint() not in await serve(world)
    world.clock.forward(hours=2)
    assert (await retire(world.worker(), world.clock.now())).result is Result.RETIRED
    assert len(world.provider.keys) == 1
    assert (await journal(world)).failures == 0 and (await journal(world)).back_from == ""


async def test_a_key_that_is_never_taken_goes_in_the_end() -> None:
    world = await World.make()
    await refused_by(world, "two")
    world.clock.forward(days=1, hours=1)
    await rotated(world)
    assert [ref.id for ref, _ in world.provider.keys.values()] == [world.first_key.ref.id], "revoked, on evidence"
    await rotated(world)
    assert world.provider.made == 3, "and then a fresh one is made"


async def test_a_key_that_the_provider_refuses_in_the_members_is_taken_back_and_not_used_again() -> None:
    async with Scene.of("somebody deletes the new key while it is rolled") as scene:
        world, actor = scene.world, scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="canary local.member")
        for key_id in [key_id for key_id in world.provider.keys if key_id != world.first_key.ref.id]:
            del world.provider.keys[key_id]
        assert isinstance(await actor.end(), RolledBackError)
        assert await serve(world) == {world.first_key.material.fingerprint()}
        with pytest.raises(RejectedError):
            await rotated(world)
        world.clock.forward(days=2)
        for _ in range(2):
            await rotated(world)
        assert world.first_key.material.fingerprint() not in await serve(world)


async def test_one_member_that_cannot_go_back_does_not_keep_the_others_from_it() -> None:
    async with Scene.of("somebody deletes the new key, and one does not come back at all") as scene:
        world, actor = scene.world, scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="canary local.member")
        for key_id in [key_id for key_id in world.provider.keys if key_id != world.first_key.ref.id]:
            del world.provider.keys[key_id]
        world.fleet.bad = {"one"}
        outcome = await actor.end()
        assert isinstance(outcome, RollFailedError) and "going back was not finished" in outcome.message
        assert world.fleet.loaded["two"] == (await world.store.current(world.secret)).version
        assert (await world.store.current(world.secret)).material == world.first_key.material


async def test_there_is_no_way_back_to_a_key_that_the_provider_refuses() -> None:
    world = await World.make()
    world.provider.dud.add(world.first_key.ref.id)
    world.fleet.bad = {"two"}
    with pytest.raises(RollFailedError, match="no way back"):
        await rotated(world)
    assert (await world.store.current(world.secret)).material != world.first_key.material


async def test_nor_to_one_that_could_not_be_tried() -> None:
    world = await World.make()
    world.fleet.bad = {"one"}
    promote = world.store.promote

    async def promote_then_provider_is_down(*words: object) -> None:
        await promote(*words)  # type: ignore[arg-type]
        world.provider.verdict = Judgement(Verdict.INDETERMINATE, "503")

    world.store.promote = promote_then_provider_is_down  # type: ignore[method-assign, assignment]
    with pytest.raises(RollFailedError, match="could not be told"):
        await rotated(world)
    assert (await world.store.current(world.secret)).material != world.first_key.material


async def test_an_incident_never_goes_back_to_the_key_that_may_have_leaked() -> None:
    world = await World.make()
    await refused_by(world, "two", reason=Reason.INCIDENT)
    assert (await world.store.current(world.secret)).material != world.first_key.material
    assert (await rotate(world.worker(), world.clock.now(), Reason.INCIDENT)).result is Result.RETIRED
    assert not world.provider.accepts(world.first_key.material)


async def test_a_member_that_cannot_be_reached_is_no_reason_to_go_back() -> None:
    """The next tick resumes at the roll, and creates nothing."""
    world = await World.make()
    roll = world.fleet.roll

    async def unreachable(*_: object) -> None:
        raise UnavailableError("the supervisor cannot be reached")

    world.fleet.roll = unreachable  # type: ignore[method-assign, assignment]
    with pytest.raises(UnavailableError):
        await rotated(world)
    world.fleet.roll = roll  # type: ignore[method-assign]
    assert (await world.store.current(world.secret)).material != world.first_key.material
    await rotated(world)
    assert world.provider.made == 2


async def test_a_member_that_falls_back_later_takes_no_proved_key_with_it() -> None:
    world = await World.make()
    await rotated(world)
    served = (await world.store.current(world.secret)).version
    world.fleet.loaded["two"] = None
    world.fleet.loaded["one"] = (await world.store.stages(world.secret))[Stage.PREVIOUS]
    world.fleet.bad = {"one"}
    with pytest.raises(RollFailedError):
        await rotated(world)
    assert (await world.store.current(world.secret)).version == served


async def test_a_way_back_that_is_not_finished_is_gone_to_its_end_by_the_next_run() -> None:
    world = await World.make()
    world.fleet.names = ("one", "two", "three")
    await world.fleet.start()
    world.fleet.bad = {"two"}
    roll, tries = world.fleet.roll, count()

    async def fails_on_the_way_back(*words: object) -> None:
        if next(tries) > 1:
            raise RollFailedError("one does not come back at all")
        await roll(*words)  # type: ignore[arg-type]

    world.fleet.roll = fails_on_the_way_back  # type: ignore[method-assign, assignment]
    with pytest.raises(RollFailedError, match="going back was not finished"):
        await rotated(world)
    world.fleet.roll = roll  # type: ignore[method-assign]
    world.fleet.bad.clear()
    await rotated(world)
    assert await serve(world) == {world.first_key.material.fingerprint()}, "first the way back is gone"
    await rotated(world)
    assert world.provider.made == 2 and world.first_key.material.fingerprint() not in await serve(world)


# By hand.


async def test_by_hand_the_previous_key_is_served_again_and_the_other_goes_after_the_overlap() -> None:
    world = await World.make()
    await rotated(world)
    outcome = await rollback(world.worker())
    assert outcome.result is Result.ROLLED_BACK and outcome.retire_after is not None
    assert await serve(world) == {world.first_key.material.fingerprint()}
    world.clock.forward(hours=2)
    await retire(world.worker(), world.clock.now())
    assert [ref.id for ref, _ in world.provider.keys.values()] == [world.first_key.ref.id]


async def test_after_that_nothing_is_begun_by_itself_until_a_person_rotates() -> None:
    world = await World.make(max_age="30d")
    await rotated(world)
    await rollback(world.worker())
    world.clock.forward(days=90)
    await retire(world.worker(), world.clock.now())
    with pytest.raises(ParkedError, match="rolled back: by hand"):
        await rotated(world, Reason.SCHEDULED)
    await rotated(world)
    assert world.provider.made == 3, "a fresh key: the other one was taken back for good"
    world.clock.forward(days=1)
    await retire(world.worker(), world.clock.now())
    world.clock.forward(days=90)
    await rotated(world, Reason.SCHEDULED)
    assert world.provider.made == 4


async def test_by_hand_twice_is_once() -> None:
    world = await World.make()
    await rotated(world)
    for _ in range(2):
        assert (await rollback(world.worker())).result is Result.ROLLED_BACK
    assert world.fleet.rolls == ["one", "two"] * 2


async def test_when_the_old_key_is_gone_there_is_nothing_to_go_back_to() -> None:
    world = await World.make(overlap="0s")
    await rotated(world)
    served = await serve(world)
    with pytest.raises(NotFoundError, match="overlap is over"):
        await rollback(world.worker())
    assert await serve(world) == served


async def test_a_worker_that_was_stalled_does_not_promote_what_a_person_took_back() -> None:
    async with Scene.of("asleep before its promote") as scene:
        sleeper = scene.actor("sleeper")
        sleeper.start(scene.rotate(sleeper))
        await sleeper.until(before="store memory.promote")
        other = scene.actor("other")
        await other.run(scene.rotate(other))
        await rollback(scene.world.worker())
        assert isinstance(await sleeper.end(), ConflictError)
        assert await serve(scene.world) == {scene.world.first_key.material.fingerprint()}
        assert (await scene.world.store.current(scene.world.secret)).material == scene.world.first_key.material


async def test_a_promote_that_slips_in_while_a_person_goes_back_is_taken_back_too() -> None:
    world = await World.make()
    await rotated(world)
    new = (await world.store.current(world.secret)).version
    discard, once = world.store.discard, count()

    async def somebody_promotes_first(secret: object, version: object) -> None:
        if next(once) == 0:
            await world.store.promote(world.secret, new, (await world.store.current(world.secret)).version)
        await discard(secret, version)  # type: ignore[arg-type]

    world.store.discard = somebody_promotes_first  # type: ignore[method-assign]
    await rollback(world.worker())
    assert (await world.store.current(world.secret)).material == world.first_key.material
    assert await serve(world) == {world.first_key.material.fingerprint()}


# Against a retirement of the key that is gone back to: exactly one of the two wins, and no key in service is deleted.


async def test_a_retirement_and_a_rollback_at_once_never_leave_a_dead_key_in_service() -> None:
    found = Findings()
    for first in count():
        goes_on = False
        for then in count():
            async with Scene.of(f"the retirement to {first}, the rollback to {then}") as scene:
                actor = scene.actor("A")
                await actor.run(scene.rotate(actor))
                scene.world.clock.forward(hours=2)
                r, b = scene.actor("R"), scene.actor("B")
                r.start(scene.retire(r))
                b.start(scene.rollback(b))
                goes_on = await r.until(calls=first)
                on_its_way = await b.until(calls=then)
                await r.end()
                await b.end()
                scene.watch()
                found.add(scene)
            if not on_its_way:
                break
        if not goes_on:
            break
    found.demand_none(at_least=200)


async def test_an_old_key_is_barred_before_it_is_deleted_and_its_text_is_kept_until_it_is_refused() -> None:
    world = await World.make(stores=2)
    await rotated(world)
    world.clock.forward(hours=2)
    world.provider.fail["revoke"] = DeniedError("may not delete")
    with pytest.raises(DeniedError):
        await retire(world.worker(), world.clock.now())
    stages = await world.store.stages(world.secret)
    with pytest.raises(ConflictError, match="barred"):
        await world.store.promote(world.secret, stages[Stage.PREVIOUS], stages[Stage.CURRENT])
    second, store = world.secrets[1]
    assert Stage.PREVIOUS not in await store.stages(second)
    world.provider.fail.clear()
    outcome = await retire(world.worker(), world.clock.now())
    assert outcome.result is Result.RETIRED and outcome.old_key_refused_at is not None


# Dying on the way.


@pytest.mark.parametrize("kind", [PLAIN, TWO_STORES], ids=str)
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.ANSWER_LOST, Fault.UNAVAILABLE, Fault.DENIED])
async def test_a_fault_anywhere_on_the_way_back_ends_with_one_key_in_service(fault: Fault, kind: Kind) -> None:
    found = Findings()
    for number in count():
        async with Scene.of(f"two is bad, and A {fault.value} {number}", kind) as scene:
            scene.world.fleet.bad = {"two"}
            actor = scene.actor("A", {number: fault})
            await actor.run(scene.rotate(actor))
            if number >= len(actor.calls):
                break
            scene.title += f" {actor.calls[number]}"
            scene.world.fleet.bad.clear()
            await scene.finish(runs=4)
            found.add(scene)
    found.demand_none(at_least=30)


async def test_an_undo_that_sleeps_spares_a_key_that_was_promoted_and_is_being_taken_back() -> None:
    """CURRENT is what it was: that alone does not tell that nobody serves the key."""
    async with Scene.of("its canary said no; meanwhile others promote, roll one member, and go back") as scene:
        world = scene.world
        world.provider.slow_to_accept = timedelta(seconds=45)
        sleeper = scene.actor("sleeper")
        sleeper.start(scene.rotate(sleeper))
        assert await sleeper.until(before="store memory.discard")
        world.provider.slow_to_accept = timedelta(0)
        world.clock.forward(minutes=5)
        other = scene.actor("other")
        other.start(scene.rotate(other, world.clock.now()))
        world.fleet.bad = {"two"}
        assert await other.until(before="fleet local.roll", nth=3), "before the first member goes back"
        assert world.fleet.loaded["one"] != (await world.store.current(world.secret)).version
        await sleeper.end()
        scene.watch()
        await other.end()
        assert not scene.wrong


@pytest.mark.parametrize("kind", [PLAIN, TWO_STORES], ids=str)
async def test_a_worker_that_sleeps_anywhere_while_its_key_is_taken_back_and_revoked_does_no_harm(kind: Kind) -> None:
    """CURRENT is again what the sleeper saw, and what it is about to promote is dead."""
    found = Findings()
    for number in count():
        async with Scene.of(f"A sleeps before {number}", kind) as scene:
            sleeper = scene.actor("A")
            sleeper.start(scene.rotate(sleeper))
            if not await sleeper.until(calls=number):
                break
            other, retires = scene.actor("B"), scene.actor("R")
            scene.world.fleet.bad = {"two"}
            await other.run(scene.rotate(other))
            scene.world.fleet.bad.clear()
            scene.world.clock.forward(days=2)
            await retires.run(scene.retire(retires, now=True))
            await sleeper.end()
            scene.watch()
            scene.world.clock.forward(hours=2)
            await scene.finish(runs=4, asked=scene.world.clock.now())
            found.add(scene)
    found.demand_none(at_least=30)


async def test_a_key_that_was_revoked_meanwhile_is_not_brought_into_a_second_store() -> None:
    async with Scene.of("asleep before it stages for a second store that took nothing before", TWO_STORES) as scene:
        world = scene.world
        second, store = world.secrets[1]
        turn = await begin(world.worker(), Asked(scene.asked))
        await store.spend(second, turn.rotation)
        sleeper = scene.actor("sleeper")
        sleeper.start(scene.rotate(sleeper))
        assert await sleeper.until(before="store second.stage", nth=2)
        await rollback(world.worker())
        world.clock.forward(days=2)
        await retire(world.worker(), world.clock.now(), now=True)
        assert isinstance(await sleeper.end(), ConflictError)
        assert (await store.current(second)).material == world.first_key.material
        scene.watch()
        assert not scene.wrong


async def test_a_value_that_a_person_brought_into_service_is_not_put_back_by_anybody() -> None:
    world = await World.make()
    await rotated(world)
    theirs = world.provider.add(new_key(), "by hand")
    world.change_by_hand(theirs.material)
    await rollback(world.worker())
    assert (await world.store.current(world.secret)).material != theirs.material, "a person asked for the previous one"
    assert world.provider.accepts(theirs.material)
