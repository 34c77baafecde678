"""The steps in their order, without Prefect, in a world in memory: what each leaves behind, and what a second run does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.assembly import Assembly
from keyturn.errors import (
    ConflictError,
    DeniedError,
    EvidenceMissingError,
    IndeterminateError,
    KeyturnError,
    LostAnswerError,
    RejectedError,
    RollFailedError,
    UnavailableError,
    UndecidedError,
)
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Reason, Step
from keyturn.model import Judgement, KeyRef, Stage, Verdict
from keyturn.steps.create import create
from keyturn.steps.observe import Turn, begin, observe
from keyturn.steps.promote import promote
from keyturn.steps.prove import prove
from keyturn.steps.revoke import revoke
from keyturn.steps.roll import roll
from keyturn.steps.tidy import tidy
from keyturn.steps.undo import undo
from keyturn.steps.validate import validate
from keyturn.steps.write import SupersededError, write
from keyturn.testing.explorer import Actor
from keyturn.testing.world import World, new_key

OVERLAP = timedelta(hours=1)


async def asked(world: World, reason: Reason = Reason.MANUAL) -> Asked:
    world.clock.forward(seconds=1)
    return Asked(world.clock.now(), reason, OVERLAP, world.settings.max_age)


async def run(world: World, c: Assembly | None = None, *, until: str = "prove", overlap: timedelta = OVERLAP) -> Turn:
    """A rotation up to and with the named step, by a worker that knows nothing but the world."""
    c = c or world.worker()
    turn = await begin(c, await asked(world))
    if turn.decision.step in (Step.CREATE, Step.ADOPT, Step.VALIDATE, Step.PROMOTE):
        key = await create(c, turn)
        if until == "create":
            return turn
        await write(c, turn, key)
        if until == "write":
            return turn
        if turn.decision.step is not Step.PROMOTE:
            await validate(c, turn)
        if until == "validate":
            return turn
        await promote(c, turn)
    if until == "promote":
        return turn
    if turn.decision.step in (Step.NOTHING, Step.WAIT, Step.RETIRE):
        return turn
    await tidy(c)
    await roll(c)
    if until == "roll":
        return turn
    await prove(c, overlap)
    return turn


async def journal(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def current_key_works(world: World) -> bool:
    return world.provider.accepts((await world.store.current(world.secret)).material)


async def test_a_rotation_replaces_the_key_everywhere_and_revokes_the_old_one() -> None:
    world = await World.make()
    await run(world)
    assert world.fleet.rolls == ["one", "two"]
    assert world.provider.accepts(world.first_key.material), "the old key lives through the overlap"
    world.clock.forward(hours=1)
    done = await revoke(world.worker())
    assert done.key == world.first_key.ref.id and done.refused_at is not None
    assert len(world.provider.keys) == 1 and await current_key_works(world)
    assert (await world.store.stages(world.secret)).keys() == {Stage.CURRENT}


@pytest.mark.parametrize("died_after", ["create", "write", "validate", "promote", "roll", "prove"])
async def test_a_run_that_died_after_any_step_is_finished_by_the_next_one(died_after: str) -> None:
    world = await World.make()
    await run(world, until=died_after)
    await run(world)
    world.clock.forward(hours=1)
    await revoke(world.worker())
    assert len(world.provider.keys) == 1 and await current_key_works(world)
    assert world.fleet.rolls == ["one", "two"], "one roll for each member"
    assert world.provider.revoked.count(world.first_key.ref.id) == 1


async def test_a_lost_answer_to_create_leaves_no_stray() -> None:
    world = await World.make()
    world.provider.lose_answers = 1
    with pytest.raises(LostAnswerError):
        await run(world)
    assert len(world.provider.keys) == 2
    await run(world)
    assert len(world.provider.keys) == 2, "the old and the new one: the lost one is revoked"
    assert await current_key_works(world)


async def test_a_second_run_in_the_overlap_makes_no_key() -> None:
    world = await World.make()
    await run(world)
    turn = await run(world)
    assert turn.decision.check == "in_overlap"
    assert len(world.provider.keys) == 2


async def test_a_run_asked_for_before_the_last_rotation_does_nothing() -> None:
    world = await World.make()
    early = await asked(world)
    await run(world)
    world.clock.forward(hours=2)
    await revoke(world.worker())
    turn = await begin(world.worker(), early)
    assert (turn.decision.step, turn.decision.check) == (Step.NOTHING, "satisfied")


async def test_a_key_that_is_slow_to_be_accepted_is_waited_for() -> None:
    world = await World.make()
    world.provider.slow_to_accept = timedelta(seconds=20)
    await run(world)
    assert await current_key_works(world)


async def test_a_key_that_stays_refused_is_undone_and_the_old_one_served() -> None:
    world = await World.make()
    c = world.worker()
    world.provider.slow_to_accept = timedelta(days=1)
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    await write(c, turn, key)
    with pytest.raises(RejectedError):
        await validate(c, turn)
    assert await undo(c, turn, key)
    assert list(world.provider.keys) == [world.first_key.ref.id]
    assert (await world.store.current(world.secret)).material == world.first_key.material
    assert Stage.PENDING not in await world.store.stages(world.secret)


async def test_after_an_undo_the_next_rotation_takes_a_new_id() -> None:
    world = await World.make()
    c = world.worker()
    first = await begin(c, await asked(world))
    key = await create(c, first)
    await write(c, first, key)
    await undo(c, first, key)
    second = await run(world)
    assert second.rotation != first.rotation and await current_key_works(world)


async def test_an_undecided_canary_undoes_nothing_and_the_next_run_goes_on_with_the_same_key() -> None:
    world = await World.make()
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "429")
    with pytest.raises(UndecidedError):
        await run(world)
    staged = (await world.store.stages(world.secret))[Stage.PENDING]
    world.provider.verdict = None
    await run(world)
    assert (await world.store.current(world.secret)).version == staged
    assert world.provider.made == 2


async def test_undo_after_the_pivot_touches_nothing() -> None:
    world = await World.make()
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    await write(c, turn, key)
    # The swap is done, and the run dies before it writes that down.
    stages = await world.store.stages(world.secret)
    await world.store.promote(world.secret, stages[Stage.PENDING], stages[Stage.CURRENT])
    assert not await undo(c, turn, key)
    assert await current_key_works(world) and world.provider.revoked == []
    resumed = await run(world)
    assert resumed.decision.check == "promoted_unrecorded"
    assert world.first_key.ref.id in (await journal(world)).keys.values()


async def test_two_workers_that_both_created_have_one_winner_and_no_stray() -> None:
    world = await World.make()
    one, two = world.worker(), world.worker()
    when = await asked(world)
    first, second = await begin(one, when), await begin(two, when)
    assert first.rotation == second.rotation, "both see the same world"
    a, b = await create(one, first), await create(two, second)
    await write(one, first, a)
    with pytest.raises(SupersededError):
        await write(two, second, b)
    await validate(one, first)
    await promote(one, first)
    assert await current_key_works(world)
    assert len(world.provider.keys) == 2


async def test_a_worker_that_slept_through_another_ones_rotation_does_no_harm() -> None:
    world = await World.make()
    sleeper = world.worker()
    turn = await begin(sleeper, await asked(world))
    key = await create(sleeper, turn)
    await run(world)  # another machine finishes the rotation
    world.clock.forward(hours=1)
    await revoke(world.worker())
    with pytest.raises(KeyturnError):
        await write(sleeper, turn, key)
        await promote(sleeper, turn)
    assert await current_key_works(world)


async def test_a_value_changed_by_hand_meanwhile_is_not_overwritten() -> None:
    world = await World.make()
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    await write(c, turn, key)
    by_hand = world.provider.add(new_key(), "by hand").material
    world.change_by_hand(by_hand)
    with pytest.raises(ConflictError):
        await promote(c, turn)
    assert await undo(c, turn, key)
    assert (await world.store.current(world.secret)).material == by_hand


async def test_a_staged_value_that_no_run_wrote_down_is_adopted() -> None:
    world = await World.make()
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    assert key is not None
    await world.store.stage(world.secret, key.material, turn.rotation)
    resumed = await run(world)
    assert resumed.decision.check == "unclaimed"
    assert world.provider.made == 2 and (await journal(world)).current_key == key.ref.id


async def test_a_foreign_staged_value_is_cleared() -> None:
    world = await World.make()
    await world.store.stage(world.secret, new_key(), "00000000-0000-4000-8000-000000000000")
    await run(world)
    assert await current_key_works(world)
    assert Stage.PENDING not in await world.store.stages(world.secret)


async def test_a_bad_member_stops_the_roll_and_the_next_run_goes_on_there() -> None:
    world = await World.make()
    world.fleet.bad = {"two"}
    with pytest.raises(RollFailedError):
        await run(world)
    assert world.provider.accepts(world.first_key.material)
    world.fleet.bad = set()
    turn = await run(world)
    assert turn.decision.check == "unrolled"
    assert world.fleet.rolls == ["one", "two"] and world.provider.made == 2


async def test_a_member_that_cannot_be_asked_is_no_evidence() -> None:
    world = await World.make()
    await run(world)
    world.fleet.loaded["two"] = None
    with pytest.raises(EvidenceMissingError, match="two"):
        await revoke(world.worker())
    assert world.provider.accepts(world.first_key.material)


async def test_a_member_that_fell_back_to_the_old_key_stops_the_revoke() -> None:
    world = await World.make()
    old = (await world.store.current(world.secret)).version
    await run(world)
    world.fleet.loaded["one"] = old
    with pytest.raises(EvidenceMissingError, match="one"):
        await revoke(world.worker())
    assert world.provider.accepts(world.first_key.material)


async def test_a_use_of_the_old_key_after_the_roll_stops_the_revoke() -> None:
    world = await World.make()
    await run(world)
    world.clock.forward(minutes=10)
    world.provider.used(world.first_key.ref.id)
    with pytest.raises(EvidenceMissingError, match="after the roll"):
        await revoke(world.worker())
    assert world.provider.accepts(world.first_key.material)


async def test_a_use_before_the_roll_does_not() -> None:
    world = await World.make()
    world.provider.used(world.first_key.ref.id)
    world.clock.forward(minutes=10)
    await run(world)
    assert (await revoke(world.worker())).refused_at is not None


async def test_a_use_after_the_roll_is_forgiven_after_another_overlap_without_one() -> None:
    world = await World.make()
    await run(world)
    world.clock.forward(minutes=10)
    world.provider.used(world.first_key.ref.id)
    world.clock.forward(minutes=50)
    with pytest.raises(EvidenceMissingError, match="after the roll"):
        await revoke(world.worker())
    assert (await journal(world)).retire_after == world.clock.now() + OVERLAP
    world.clock.forward(hours=1)
    assert (await revoke(world.worker())).refused_at is not None


async def test_a_key_that_is_used_in_every_overlap_is_never_revoked() -> None:
    world = await World.make()
    await run(world)
    for _ in range(3):
        world.clock.forward(hours=1)
        world.provider.used(world.first_key.ref.id)
        with pytest.raises(EvidenceMissingError, match="saw the old key used"):
            await revoke(world.worker())
    assert world.provider.accepts(world.first_key.material)


async def test_a_key_is_not_watched_anew_before_every_member_is_proved() -> None:
    world = await World.make()
    await run(world)
    world.clock.forward(hours=1)
    world.provider.used(world.first_key.ref.id)
    world.fleet.loaded["two"] = None
    with pytest.raises(EvidenceMissingError, match="two"):
        await revoke(world.worker())
    assert (await journal(world)).watched_from is None


async def test_after_a_use_the_silence_has_to_outlast_the_providers_lag() -> None:
    world = await World.make()
    world.provider.capabilities = replace(world.provider.capabilities, usage_lag=timedelta(minutes=10))
    await run(world, overlap=timedelta(0))
    world.clock.forward(minutes=1)
    world.provider.used(world.first_key.ref.id)
    with pytest.raises(EvidenceMissingError, match="after the roll"):
        await revoke(world.worker())
    for _ in range(2):
        world.clock.forward(minutes=4)
        with pytest.raises(EvidenceMissingError, match="600 s late"):
            await revoke(world.worker())
    world.clock.forward(minutes=4)
    assert (await revoke(world.worker())).refused_at is not None


async def test_a_report_of_the_last_use_that_fails_for_a_moment_is_asked_for_again() -> None:
    world = await World.make()
    await run(world)
    world.clock.forward(minutes=10)
    world.provider.used(world.first_key.ref.id)
    c = world.worker()
    world.provider.fail["last_used"] = UnavailableError("503")

    async def recovers(seconds: float) -> None:
        world.provider.fail.clear()

    with pytest.raises(EvidenceMissingError, match="after the roll"):
        await revoke(replace(c, pause=recovers))


async def test_a_report_of_the_last_use_that_cannot_be_had_is_reported_as_missing() -> None:
    world = await World.make()
    world.provider.fail["last_used"] = DeniedError("not for this key")
    c = world.worker()
    await run(world, c)
    assert any("missing: the provider's report of the last use" in line.sentence for line in c.timeline)
    assert (await revoke(world.worker())).refused_at is not None


async def test_an_old_key_that_somebody_put_back_is_not_revoked() -> None:
    world = await World.make()
    await run(world)
    world.change_by_hand(world.first_key.material)
    for name in world.fleet.names:
        world.fleet.loaded[name] = (await world.store.current(world.secret)).version
    world.clock.forward(hours=2)
    assert (await revoke(world.worker())).key == ""
    assert await current_key_works(world)


async def test_an_old_key_put_back_after_the_evidence_is_not_revoked() -> None:
    world = await World.make()
    await run(world)
    c = world.worker()

    async def put_back_while_the_provider_lists() -> Sequence[KeyRef]:
        world.change_by_hand(world.first_key.material)
        return [ref for ref, _ in world.provider.keys.values()]

    world.provider.list = put_back_while_the_provider_lists  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match="tells the proxies to use"):
        await revoke(c)
    assert await current_key_works(world)


async def test_an_old_key_that_a_further_store_still_serves_is_not_revoked() -> None:
    world = await World.make(stores=2)
    await run(world)
    world.change_by_hand(world.first_key.material, store=1)
    with pytest.raises(ConflictError, match="second"):
        await revoke(world.worker())
    assert world.provider.accepts(world.first_key.material)


async def test_a_key_is_deleted_by_all_that_the_provider_tells_of_it() -> None:
    """Some need to know its owner: the account that was made for it goes too."""
    world = await World.make()
    await run(world)
    world.clock.forward(hours=1)
    await revoke(world.worker())
    assert world.provider.asked_to_delete == [world.first_key.ref]


async def test_an_old_key_that_somebody_deleted_before_is_done_with() -> None:
    world = await World.make()
    del world.provider.keys[world.first_key.ref.id]
    await run(world)
    done = await revoke(world.worker())
    assert done.refused_at is not None and "deleted it before" in done.sentence
    assert (await world.store.stages(world.secret)).keys() == {Stage.CURRENT}


async def test_every_old_key_is_revoked_also_where_there_are_two() -> None:
    """A person's value came between two rotations: neither its key nor the one before is forgotten."""
    world = await World.make()
    await run(world)
    world.change_by_hand(world.provider.add(new_key(), "by hand").material)
    await run(world)
    world.clock.forward(hours=1)
    done = await revoke(world.worker())
    assert done.refused_at is not None
    assert len(world.provider.keys) == 1 and await current_key_works(world)


async def test_a_revoke_that_fails_is_repeated_without_a_second_rotation() -> None:
    world = await World.make()
    await run(world)
    world.provider.fail["revoke"] = UnavailableError("500")
    with pytest.raises(UnavailableError):
        await revoke(world.worker())
    world.provider.fail.clear()
    await revoke(world.worker())
    assert world.provider.revoked == [world.first_key.ref.id] and world.provider.made == 2


async def test_a_key_still_accepted_after_its_delete_is_reported() -> None:
    world = await World.make()
    await run(world)
    world.provider.verdict = Judgement(Verdict.ACCEPTED, "200")
    with pytest.raises(IndeterminateError, match="not seen to be refused"):
        await revoke(world.worker())
    assert world.first_key.ref.id in (await journal(world)).keys.values(), "it is still to be dealt with"


async def test_a_refused_key_in_service_is_told_from_a_proof_that_is_missing() -> None:
    world = await World.make()
    await run(world, until="roll")
    for key_id in [ref.id for ref, _ in world.provider.keys.values() if ref.id != world.first_key.ref.id]:
        del world.provider.keys[key_id]
    with pytest.raises(RollFailedError, match="refuses"):
        await run(world)
    assert world.provider.accepts(world.first_key.material)
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "429")
    with pytest.raises(EvidenceMissingError, match="429"):
        await run(world)


async def test_an_old_key_that_matches_no_key_at_the_provider_is_never_guessed() -> None:
    world = await World.make()
    world.provider.keys.clear()
    other = world.provider.add(new_key(), "somebody else's")
    world.provider.keys["key_9"] = (KeyRef("key_9", "in use, unlisted hint"), world.first_key.material)
    await run(world)
    done = await revoke(world.worker())
    assert done.refused_at is None and "by hand" in done.sentence
    assert other.ref.id in world.provider.keys and world.provider.revoked == []


async def test_two_rotations_in_a_row_each_end_with_one_key() -> None:
    world = await World.make()
    for _ in range(2):
        await run(world)
        world.clock.forward(hours=2)
        await revoke(world.worker())
        assert len(world.provider.keys) == 1 and await current_key_works(world)
    assert world.fleet.rolls == ["one", "two"] * 2


async def test_nothing_is_due_before_the_maximum_age() -> None:
    world = await World.make(max_age="30d")
    await run(world)
    world.clock.forward(hours=2)
    await revoke(world.worker())
    world.clock.forward(days=3)
    turn = await begin(world.worker(), await asked(world, Reason.SCHEDULED))
    assert turn.decision.check == "young"
    world.clock.forward(days=30)
    turn = await begin(world.worker(), await asked(world, Reason.SCHEDULED))
    assert turn.decision.check == "due"


async def test_the_timeline_never_shows_a_key() -> None:
    world = await World.make()
    c = world.worker()
    await run(world, c)
    world.clock.forward(hours=1)
    await revoke(c)
    said = " ".join(line.sentence for line in c.timeline) + repr(c.timeline) + repr(await observe(c))
    for material in (world.first_key.material, (await world.store.current(world.secret)).material):
        assert material.reveal() not in said and material.reveal()[10:22] not in said


# Further stores, and providers that cannot list.


@pytest.mark.parametrize("staged_in_the_second", [False, True])
async def test_a_second_store_is_brought_to_the_new_key_however_the_run_before_ended(staged_in_the_second: bool) -> None:
    world = await World.make(stores=2)
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    assert key is not None
    for secret, store in world.secrets[: 2 if staged_in_the_second else 1]:
        await store.stage(secret, key.material, turn.rotation)
    await run(world)
    second, store = world.secrets[1]
    assert (await store.current(second)).material == key.material
    assert world.provider.made == 2 and world.fleets["far"].rolls == ["one", "two"]


async def test_a_second_store_whose_staged_value_was_discarded_is_given_it_anew() -> None:
    world = await World.make(stores=2)
    turn = await run(world, until="write")
    second, store = world.secrets[1]
    await store.discard(second, (await store.stages(second))[Stage.PENDING])
    await run(world)
    assert (await store.current(second)).version == (await world.store.current(world.secret)).version
    assert turn.rotation


async def test_a_second_store_that_was_changed_by_hand_later_is_brought_back() -> None:
    world = await World.make(stores=2)
    await run(world)
    world.change_by_hand(world.provider.add(new_key(), "by hand").material, store=1)
    turn = await run(world)
    assert turn.decision.check == "drifted" and "second" in turn.decision.sentence
    second, store = world.secrets[1]
    assert (await store.current(second)).version == (await world.store.current(world.secret)).version


async def test_a_second_store_that_takes_no_value_costs_no_key() -> None:
    """Its token is spent: it has no say in which key wins, and follows in the end."""
    world = await World.make(stores=2)
    turn = await begin(world.worker(), await asked(world))
    second, store = world.secrets[1]
    await store.stage(second, new_key(), turn.rotation)
    await run(world)
    assert world.provider.made == 2 and await current_key_works(world)
    assert (await store.current(second)).version == (await world.store.current(world.secret)).version


async def test_a_staged_value_is_adopted_also_where_keys_cannot_be_listed() -> None:
    world = await World.make()
    world.provider.capabilities = replace(world.provider.capabilities, can_list=False)
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    assert key is not None
    await world.store.stage(world.secret, key.material, turn.rotation)
    await run(world)
    assert (await world.store.current(world.secret)).material == key.material
    assert world.provider.made == 2


async def test_a_cleared_value_that_is_a_key_of_ours_takes_its_key_with_it() -> None:
    """Staged by a rotation that nobody remembers: after a restore, say, of the notes."""
    world = await World.make()
    await run(world, until="write")
    await world.store.annotate(world.secret, dict.fromkeys(await world.store.annotations(world.secret)))
    await world.store.annotate(world.secret, {"attempt": "7"})
    await run(world)
    assert len(world.provider.keys) == 2 and await current_key_works(world)


async def test_giving_up_leaves_no_key_whose_answer_was_lost() -> None:
    world = await World.make()
    c = world.worker()
    world.provider.lose_answers, world.provider.refuses_new = 1, True
    turn = await begin(c, await asked(world))
    with pytest.raises(LostAnswerError):
        await create(c, turn)
    key = await create(c, turn)
    await write(c, turn, key)
    with pytest.raises(RejectedError):
        await validate(c, turn)
    assert await undo(c, turn, key)
    assert list(world.provider.keys) == [world.first_key.ref.id]
    assert {line.step for line in c.timeline} == {"observe", "create", "write", "validate", "undo"}, "nothing past the pivot"


async def test_an_id_that_was_spent_unnoticed_costs_one_run_and_no_key() -> None:
    world = await World.make()
    await run(world, until="write")
    await world.store.discard(world.secret, (await world.store.stages(world.secret))[Stage.PENDING])
    await world.store.annotate(world.secret, dict.fromkeys(await world.store.annotations(world.secret)))
    with pytest.raises(SupersededError):
        await run(world)
    assert list(world.provider.keys) == [world.first_key.ref.id], "the forgotten one bears the spent id's name"
    await run(world)
    assert await current_key_works(world)


async def test_promote_swaps_in_every_store() -> None:
    world = await World.make(stores=2)
    await run(world, until="promote")
    second, store = world.secrets[1]
    assert (await store.current(second)).version == (await world.store.current(world.secret)).version


async def test_giving_up_clears_every_store() -> None:
    world = await World.make(stores=2)
    c = world.worker()
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    await write(c, turn, key)
    assert await undo(c, turn, key)
    for secret, store in world.secrets:
        assert (await store.stages(secret)).keys() == {Stage.CURRENT}


async def test_a_key_that_was_never_claimed_is_found_again_when_giving_it_up_dies_half_way() -> None:
    world = await World.make()
    actor = Actor("A")
    c = actor.over(world.worker())
    turn = await begin(c, await asked(world))
    key = await create(c, turn)
    assert key is not None
    await world.store.stage(world.secret, key.material, turn.rotation)
    actor.start(undo(c, turn, key))
    await actor.until(before="provider.revoke")
    assert Stage.PENDING not in await world.store.stages(world.secret)
    await actor.bury()
    await run(world)
    world.clock.forward(hours=1)
    await revoke(world.worker())
    assert len(world.provider.keys) == 1 and await current_key_works(world)
