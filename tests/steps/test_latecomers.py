"""A worker that slept wakes up and goes on with what it knew: what it may no longer do, what its late notes cannot break.

One story each; test_races.py tries them all.
"""

from __future__ import annotations

import pytest

from flows.outcome import Result
from keyturn.errors import ConflictError, DeniedError, KeyturnError, NotFoundError
from keyturn.journal import Journal, notes
from keyturn.lifecycle import Asked, Reason
from keyturn.model import CreatedKey, Stage
from keyturn.steps.create import create
from keyturn.steps.observe import Turn, begin, observe_decider
from keyturn.steps.promote import promote
from keyturn.steps.undo import undo
from keyturn.steps.validate import validate
from keyturn.steps.write import SupersededError, write
from keyturn.testing.explorer import Actor, Fault
from keyturn.testing.world import World, new_key
from tests.steps.scene import BLIND, PLAIN, TWO_STORES, Scene, calls_of_a_rotation


async def asleep(scene: Scene, before: str, nth: int = 1) -> Actor:
    """A run of the rotation, held before its nth call of this name."""
    actor = scene.actor("sleeper")
    actor.start(scene.rotate(actor))
    assert await actor.until(before=before, nth=nth), f"it makes no {before}"
    return actor


async def rotated(scene: Scene, *, retired: bool = True) -> None:
    """Somebody else ends the rotation and, after the overlap, retires its old key."""
    actor = scene.actor("other")
    await actor.run(scene.rotate(actor, scene.world.clock.now()))
    if retired:
        scene.world.clock.forward(hours=2)
        actor = scene.actor("retires")
        assert (await actor.run(scene.retire(actor))).result is Result.RETIRED
        scene.world.clock.forward(hours=2)


async def current_id(scene: Scene) -> str:
    fingerprint = (await scene.world.store.current(scene.world.secret)).version.fingerprint
    return next(ref.id for ref, key in scene.world.provider.keys.values() if key.fingerprint() == fingerprint)


async def test_a_staging_noted_late_does_not_make_the_key_in_service_its_own_old_key() -> None:
    async with Scene.of("annotates after the whole rotation") as scene:
        sleeper = await asleep(scene, "store memory.annotate")
        await rotated(scene)
        await sleeper.end()
        await scene.finish(runs=2)
        assert not scene.wrong


async def test_a_staging_noted_late_has_no_key_of_the_next_rotations_overlap_tidied_away() -> None:
    async with Scene.of("annotates while the next rotation is between promote and roll") as scene:
        sleeper = await asleep(scene, "store memory.annotate")
        await rotated(scene)
        first = await current_id(scene)
        following = await asleep_in_the_next(scene, "fleet local.roll")
        await sleeper.end()
        await following.end()
        assert first in scene.world.provider.keys, "it is the old key, in its overlap, and was served until a moment ago"
        assert not scene.wrong


async def asleep_in_the_next(scene: Scene, before: str) -> Actor:
    actor = scene.actor("next")
    actor.start(scene.rotate(actor, scene.world.clock.now()))
    assert await actor.until(before=before)
    return actor


async def test_a_promotion_noted_late_forgets_no_old_key() -> None:
    async with Scene.of("writes its promotion down during the next overlap") as scene:
        sleeper = await asleep(scene, "store memory.annotate", nth=2)
        await rotated(scene)
        await rotated(scene, retired=False)
        await sleeper.end()
        await scene.finish(runs=3, asked=scene.world.clock.now())
        assert not scene.wrong


async def test_a_promotion_that_is_not_the_last_any_more_is_not_noted() -> None:
    async with Scene.of("looks again before it writes its promotion down") as scene:
        sleeper = await asleep(scene, "store memory.stages", nth=4)
        assert sleeper.calls[-1] == "store memory.promote"
        await rotated(scene)
        await rotated(scene, retired=False)
        await sleeper.end()
        stages, journal = await observe_decider(scene.world.worker())
        assert journal.current_fingerprint == stages[Stage.CURRENT].fingerprint


async def test_a_journal_is_read_before_the_stages_it_is_checked_against() -> None:
    """The other way round a key that is staged in between would seem to be an old one."""
    world, actor = await World.make(), Actor("A")
    await actor.run(observe_decider(actor.over(world.worker())))
    assert actor.calls == ["store memory.annotations", "store memory.stages"]


async def test_a_retirement_closed_late_forgets_no_later_old_key() -> None:
    async with Scene.of("closes during the next overlap") as scene:
        await rotated(scene, retired=False)
        scene.world.clock.forward(hours=2)
        sleeper = scene.actor("sleeper")
        sleeper.start(scene.retire(sleeper))
        assert await sleeper.until(before="store memory.annotate")
        other = scene.actor("other")
        await other.run(scene.retire(other))
        in_use = await current_id(scene)
        await rotated(scene, retired=False)
        later = await current_id(scene)
        await sleeper.end()
        _, journal = await observe_decider(scene.world.worker())
        assert {in_use, later} <= set(journal.keys.values())
        await scene.finish(runs=3, asked=scene.world.clock.now())
        assert not scene.wrong


async def test_a_proof_noted_late_proves_nothing_about_a_later_value() -> None:
    async with Scene.of("notes its proof while the next rotation is not rolled") as scene:
        sleeper = await asleep(scene, "store memory.annotate", nth=4)
        await rotated(scene)
        following = await asleep_in_the_next(scene, "fleet local.roll")
        await sleeper.end()
        _, journal = await observe_decider(scene.world.worker())
        assert journal.proved_at is None and journal.retire_after is None
        await following.end()
        assert not scene.wrong


async def test_an_undo_spares_a_key_that_was_served_meanwhile() -> None:
    async with Scene.of("finds its rotation over, and the key that it made in the next overlap") as scene:
        sleeper = await asleep(scene, "store memory.promote")
        await rotated(scene)
        made_by_the_sleeper = await current_id(scene)
        following = await asleep_in_the_next(scene, "fleet local.roll")
        outcome = await sleeper.end()
        assert isinstance(outcome, ConflictError), "its compare-and-swap fails, and it undoes what it can"
        assert made_by_the_sleeper in scene.world.provider.keys, "the members still serve it"
        await following.end()
        assert not scene.wrong


async def staged_by(world: World, asked: Asked) -> tuple[Turn, CreatedKey]:
    c = world.worker()
    turn = await begin(c, asked)
    key = await create(c, turn)
    assert key is not None
    await write(c, turn, key)
    return turn, key


async def test_only_the_value_that_was_validated_is_promoted() -> None:
    world = await World.make()
    asked, c = Asked(world.clock.now()), world.worker()
    first, key = await staged_by(world, asked)
    await validate(c, first)
    await undo(c, first, key)  # by another worker, whose canary said no
    world.provider.refuses_new = True
    second, _ = await staged_by(world, asked)
    assert first.rotation != second.rotation
    with pytest.raises(SupersededError):
        await promote(c, first)
    assert (await world.store.current(world.secret)).material == world.first_key.material


async def test_a_value_of_another_rotation_is_not_validated_in_its_place() -> None:
    world = await World.make()
    asked, c = Asked(world.clock.now()), world.worker()
    first, key = await staged_by(world, asked)
    await undo(c, first, key)
    await staged_by(world, asked)
    with pytest.raises(NotFoundError, match="staged value is gone"):
        await validate(c, first)


async def test_a_validation_that_comes_too_late_leaves_the_promotion_alone() -> None:
    async with Scene.of("validates what another worker has promoted") as scene:
        sleeper = await asleep(scene, "canary local.candidate")
        await rotated(scene, retired=False)
        outcome = await sleeper.end()
        assert outcome.result is Result.ROTATED
        await scene.finish()
        assert not scene.wrong


async def test_a_run_whose_create_fails_for_good_leaves_another_runs_staged_key_alone() -> None:
    world = await World.make()
    asked, c = Asked(world.clock.now()), world.worker()
    late = await begin(c, asked)
    await staged_by(world, asked)
    world.provider.fail["create"] = DeniedError("no more keys")
    with pytest.raises(DeniedError):
        await create(c, late)
    assert not await undo(c, late, None)
    assert Stage.PENDING in await world.store.stages(world.secret)
    assert len(world.provider.keys) == 2


async def test_a_write_repeated_late_spares_its_own_key_that_others_adopted_and_replaced() -> None:
    async with Scene.of("the answer to stage is lost, and the repeat comes after the next rotation") as scene:
        staging = (await calls_of_a_rotation(PLAIN)).index("store memory.stage")
        sleeper = scene.actor("sleeper", {staging: Fault.ANSWER_LOST})
        sleeper.start(scene.rotate(sleeper))
        assert await sleeper.until(before="store memory.stage", nth=2)
        await rotated(scene)
        adopted = await current_id(scene)
        following = await asleep_in_the_next(scene, "fleet local.roll")
        scene.world.change_by_hand(scene.world.provider.add(new_key(), "made by hand, too").material)
        await sleeper.end()
        assert adopted in scene.world.provider.keys, "the members still serve it"
        await following.end()


async def test_a_key_that_others_have_claimed_is_not_revoked_by_whoever_made_it() -> None:
    world = await World.make()
    c = world.worker()
    turn = await begin(c, Asked(world.clock.now()))
    key = await create(c, turn)
    assert key is not None
    await world.store.stage(world.secret, new_key(), turn.rotation)  # its token has had its turn
    await world.store.annotate(world.secret, notes(keys={key.material.fingerprint(): key.ref.id}))
    with pytest.raises(SupersededError):
        await write(c, turn, key)
    assert world.provider.revoked == [], "it is retired as every old key is: on evidence"


async def test_a_key_that_became_old_since_the_retirement_looked_has_an_overlap_of_its_own() -> None:
    async with Scene.of("revokes what it saw before the next rotation") as scene:
        await rotated(scene, retired=False)
        scene.world.clock.forward(hours=2)
        sleeper = scene.actor("sleeper")
        sleeper.start(scene.retire(sleeper))
        assert await sleeper.until(before="store memory.annotations", nth=2), "the flow has looked, and the step has not"
        other = scene.actor("other")
        await other.run(scene.retire(other))
        in_use = await current_id(scene)
        await rotated(scene, retired=False)
        await sleeper.end()
        assert in_use in scene.world.provider.keys


async def test_a_second_store_is_not_taken_back_by_a_worker_that_wakes_late() -> None:
    async with Scene.of("follows in the second store after the next rotation", TWO_STORES) as scene:
        sleeper = await asleep(scene, "store second.promote")
        await rotated(scene)
        await rotated(scene, retired=False)
        outcome = await sleeper.end()
        assert isinstance(outcome, KeyturnError)
        current = (await scene.world.store.current(scene.world.secret)).version
        secret, store = scene.world.secrets[1]
        assert (await store.current(secret)).version == current
        assert not scene.wrong


async def test_a_second_store_is_not_given_a_persons_value() -> None:
    async with Scene.of("a person's value comes while the second store is to follow", TWO_STORES) as scene:
        sleeper = await asleep(scene, "store second.stages", nth=2)
        assert sleeper.calls[-1] == "store memory.promote"
        scene.world.change_by_hand(scene.world.provider.add(new_key(), "by hand").material)
        assert isinstance(await sleeper.end(), ConflictError)
        secret, store = scene.world.secrets[1]
        assert (await store.current(secret)).material == scene.world.first_key.material


async def test_no_member_is_moved_onto_a_persons_value() -> None:
    async with Scene.of("a person's value comes between the promotion and the roll") as scene:
        sleeper = await asleep(scene, "store memory.annotations", nth=5)
        assert (await observe_decider(scene.world.worker()))[1].promoted_at is not None
        scene.world.change_by_hand(scene.world.provider.add(new_key(), "by hand").material)
        assert isinstance(await sleeper.end(), ConflictError)
        assert scene.world.fleet.rolls == []


async def test_a_persons_value_is_not_proved_to_be_the_rotations() -> None:
    async with Scene.of("a person's value comes, and to the members too, between roll and prove") as scene:
        sleeper = await asleep(scene, "store memory.annotations", nth=7)
        assert scene.world.fleet.rolls == ["one", "two"]
        scene.world.change_by_hand(scene.world.provider.add(new_key(), "by hand").material)
        for member in scene.world.fleet.names:
            scene.world.fleet.loaded[member] = (await scene.world.store.current(scene.world.secret)).version
        assert isinstance(await sleeper.end(), ConflictError)
        _, journal = await observe_decider(scene.world.worker())
        assert journal.retire_after is None


async def test_a_claim_that_names_the_key_is_not_overwritten_by_one_that_cannot() -> None:
    """Where keys cannot be listed, only whoever made a key knows its id."""
    async with Scene.of("adopts what its maker claims in this moment", BLIND) as scene:
        maker, other = await asleep(scene, "store memory.annotate"), scene.world.worker()
        turn = await begin(other, Asked(scene.world.clock.now()))
        assert turn.decision.check == "unclaimed"
        await maker.until(before="canary local.candidate")
        claimed = (await observe_decider(other))[1].keys
        assert await create(other, turn) is None
        assert (await observe_decider(other))[1].keys == claimed


async def test_a_late_note_about_a_dead_key_costs_one_more_retirement_and_nothing_else() -> None:
    async with Scene.of("claims its key after that key was retired") as scene:
        sleeper = await asleep(scene, "store memory.annotate")
        await rotated(scene)
        await rotated(scene)
        await sleeper.end()
        journal = Journal.parse(await scene.world.store.annotations(scene.world.secret))
        assert len(journal.keys) == 2, "the key in service, and one that is long gone"
        scene.world.clock.forward(hours=1)
        await scene.finish(runs=2, asked=scene.world.clock.now())
        assert not scene.wrong


async def test_a_late_retirement_spares_a_key_that_a_rollback_brought_back_to_the_members() -> None:
    """The secret tells of neither by then: another rotation has promoted a third key, and not yet rolled."""
    async with Scene.of("retires after a rollback, while the next rotation is between promote and roll") as scene:
        await rotated(scene, retired=False)
        scene.world.clock.forward(hours=2)
        sleeper = scene.actor("retires")
        sleeper.start(scene.retire(sleeper))
        assert await sleeper.until(before="store memory.bar")
        await scene.actor("rolls back").run(scene.rollback(scene.actors[-1]))
        taken_back = scene.actor("retires what was taken back")
        scene.world.clock.forward(hours=2)
        await taken_back.run(scene.retire(taken_back))
        following = scene.actor("next")
        following.start(scene.rotate(following, scene.world.clock.now(), Reason.INCIDENT))
        assert await following.until(before="fleet local.roll")
        await sleeper.end()
        assert scene.world.first_key.ref.id in scene.world.provider.keys, "the members serve it"
        await following.end()
        assert not scene.wrong
