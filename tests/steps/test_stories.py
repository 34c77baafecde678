"""Failures that really happened to systems which rotate secrets, each told once. docs/testing.md lists them all.

Those that need real parts are in tests/e2e/test_stories.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from flows.outcome import Result
from flows.swept import State
from keyturn.errors import EvidenceMissingError, KeyturnError, LostAnswerError, PermanentError, UnavailableError
from keyturn.lifecycle import Reason
from keyturn.model import Finding, Judgement, Member, SecretRef, Verdict, VersionRef
from keyturn.steps.preflight import PreflightError
from keyturn.testing.explorer import EFFECTS, Actor, Fault
from keyturn.testing.world import World
from tests.steps.plain_flows import retire, rotate, sweep
from tests.steps.scene import PLAIN, Findings, Scene, calls_of_a_rotation


async def rotated(world: World, reason: Reason = Reason.MANUAL) -> Any:
    world.clock.forward(seconds=2)
    return await rotate(world.worker(), world.clock.now(), reason)


def serve(world: World) -> set[str]:
    return {version.fingerprint for version in world.fleet.loaded.values() if version}


async def current(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


@pytest.mark.story("1: the secret changed, and nobody knows it")
async def test_dead_after_the_create_and_before_any_write() -> None:
    async with Scene.of("dies after its create") as scene:
        number = (await calls_of_a_rotation(PLAIN)).index("provider.create")
        actor = scene.actor("A", {number: Fault.DIES_AFTER})
        await actor.run(scene.rotate(actor))
        assert len(scene.world.provider.keys) == 2, "nobody has written down the second one"
        await scene.finish()
        assert not scene.wrong
        assert len(scene.world.provider.keys) == 1


@pytest.mark.story("2: retrying a value that can never work")
async def test_a_key_that_is_refused_for_good_is_given_up_and_so_are_its_successors() -> None:
    world = await World.make(max_age="30d")
    world.provider.refuses_new = True
    for _ in range(24 * 12):
        await sweep(world.worker())
        world.clock.forward(minutes=10)
    assert world.provider.made == 1 + 5 and len(world.provider.keys) == 1
    row = await sweep(world.worker())
    assert row.state is State.PARKED and "refuses the new key" in row.sentence
    world.provider.refuses_new = False
    assert (await rotated(world)).result is Result.ROTATED, "and a person can go on at any time"


@pytest.mark.story("3: the conflict found too late")
@pytest.mark.parametrize("part", ["the admin key", "the secret's path", "the right to write", "the proxies", "the canary"])
async def test_what_would_stop_it_stops_it_before_anything_is_created(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World.make()

    async def is_wrong(*_: object) -> Sequence[Finding]:
        return [Finding(part, False, "is wrong", "mend it")]

    worker = world.worker()
    target = {
        "the admin key": worker.provider,
        "the secret's path": world.store,
        "the right to write": world.store,
        "the proxies": world.fleet,
        "the canary": worker.canaries["local"],
    }[part]
    monkeypatch.setattr(target, "preflight", is_wrong)
    with pytest.raises(PreflightError, match=part):
        await rotate(worker, world.clock.now())
    assert world.provider.made == 1 and await current(world) == world.first_key.material.fingerprint()


@pytest.mark.story("4: success reported as failure")
async def test_a_revoke_that_fails_is_a_rotation_with_its_revocation_pending() -> None:
    world = await World.make(overlap="0s")
    world.provider.fail["revoke"] = UnavailableError("500")
    for _ in range(3):
        outcome = await rotated(world)
        assert outcome.result is Result.PENDING
    assert world.provider.made == 2, "no second create"
    world.provider.fail.clear()
    assert (await rotated(world)).result is Result.RETIRED
    assert len(world.provider.keys) == 1


@pytest.mark.story("5: everybody rotates")
async def test_two_workers_at_every_effect_and_one_of_them_is_killed() -> None:
    found = Findings()
    for number, call in enumerate(await calls_of_a_rotation(PLAIN)):
        if call.rpartition(".")[2] not in EFFECTS:
            continue
        async with Scene.of(f"A is at {number} {call} when B begins; A is killed") as scene:
            a, b = scene.actor("A"), scene.actor("B")
            a.start(scene.rotate(a))
            await a.until(calls=number)
            await b.run(scene.rotate(b))
            a.dead = True
            await a.end()
            await scene.finish(runs=2)
            found.add(scene)
    found.demand_none(at_least=8)


@pytest.mark.story("6: store and proxy disagree")
async def test_proxies_that_read_another_secret_are_found_out_before_anything_is_revoked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await World.make()
    elsewhere = SecretRef("memory", "litellm/old-name", "OPENAI_API_KEY")
    world.store.documents[elsewhere.path] = {"OPENAI_API_KEY": world.first_key.material.reveal()}

    async def loads_what_it_reads(member: Member, credential: str, version: VersionRef) -> None:
        world.fleet.loaded[member.name] = (await world.store.current(elsewhere)).version

    monkeypatch.setattr(world.fleet, "roll", loads_what_it_reads)
    with pytest.raises(EvidenceMissingError, match="serves another key"):
        await rotated(world)
    assert world.provider.accepts(world.first_key.material) and serve(world) == {world.first_key.material.fingerprint()}


@pytest.mark.story("7: the overlap that was not")
async def test_both_keys_are_accepted_through_the_whole_overlap() -> None:
    world = await World.make(overlap="1h", max_age="30d")
    await rotated(world)
    new = await current(world)
    for _ in range(59):
        world.clock.forward(minutes=1)
        await sweep(world.worker())
        await retire(world.worker(), world.clock.now())
        assert world.provider.knows(world.first_key.material.fingerprint()) and world.provider.knows(new)
    world.clock.forward(minutes=2)
    await sweep(world.worker())
    assert not world.provider.knows(world.first_key.material.fingerprint())


@pytest.mark.story("8: the reload that lied")
async def test_a_member_that_says_it_was_rolled_and_serves_the_old_key_is_not_believed() -> None:
    world = await World.make(overlap="0s")

    async def says_done(*_: object) -> None:
        """New keys are live, it says."""

    world.fleet.roll = says_done  # type: ignore[method-assign, assignment]
    with pytest.raises(EvidenceMissingError, match="serves another key"):
        await rotated(world)
    assert world.provider.revoked == []


@pytest.mark.story("9: the roll that did not happen, and the one that did")
async def test_two_rotations_in_one_second_are_two_rolls_and_a_resumed_one_is_none() -> None:
    world = await World.make(overlap="0s")
    for times in (1, 2):
        await rotate(world.worker(), world.clock.now() + timedelta(seconds=times), Reason.MANUAL)
        assert world.fleet.rolls == ["one", "two"] * times, "the clock has not moved"
    actor = Actor("again")
    await actor.run(rotate(actor.over(world.worker()), world.clock.now(), Reason.MANUAL))
    assert actor.calls.count("fleet local.roll") == 0, "asked before, and done: nobody is asked to roll"
    for number, call in enumerate(await calls_of_a_rotation(PLAIN)):
        if call != "fleet local.roll":
            continue
        async with Scene.of(f"restarted in the middle of the roll: {number}") as scene:
            actor, again = scene.actor("A", {number: Fault.DIES_AFTER}), scene.actor("again")
            await actor.run(scene.rotate(actor))
            await again.run(scene.rotate(again))
            asked = [*actor.calls, *again.calls].count("fleet local.roll")
            assert asked == 2, "each member once"


@pytest.mark.story("10: the check that always says yes")
@pytest.mark.parametrize("slow", [0, 25])
async def test_a_key_that_is_slow_to_be_accepted_is_waited_for_and_one_that_cannot_be_judged_is_not_undone(
    slow: int,
) -> None:
    world = await World.make()
    world.provider.slow_to_accept = timedelta(seconds=slow)
    assert (await rotated(world)).result is Result.ROTATED
    world = await World.make()
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "429")
    with pytest.raises(KeyturnError, match="429"):
        await rotated(world)
    assert world.provider.revoked == [] and await current(world) == world.first_key.material.fingerprint()
    world.provider.verdict = None
    await rotated(world)
    assert world.provider.made == 2, "the same key, when the answer is clear"


@pytest.mark.story("11: revoked the only working key")
async def test_a_lost_create_and_an_unproved_key_revoke_nothing() -> None:
    world = await World.make()
    world.provider.lose_answers = 3
    with pytest.raises(LostAnswerError):
        await rotated(world)
    assert (await retire(world.worker(), world.clock.now(), now=True)).result is Result.NOTHING
    async with Scene.of("promoted and rolled, and not proved") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="canary local.member")
        with pytest.raises(PermanentError, match="not finished"):
            await retire(scene.world.worker(), scene.world.clock.now(), now=True)
        assert scene.world.provider.accepts(scene.world.first_key.material)


@pytest.mark.story("12: issued, not deployed, never tried again")
async def test_a_roll_that_failed_is_resumed_at_the_next_tick_and_nothing_is_created() -> None:
    world = await World.make(max_age="30d")
    roll = world.fleet.roll

    async def unreachable(*_: object) -> None:
        raise UnavailableError("the supervisor cannot be reached")

    world.fleet.roll = unreachable  # type: ignore[method-assign, assignment]
    assert (await sweep(world.worker())).state is State.FAILED
    world.fleet.roll = roll  # type: ignore[method-assign]
    world.clock.forward(minutes=10)
    assert (await sweep(world.worker())).state is State.DONE
    assert world.provider.made == 2 and serve(world) == {await current(world)}
    assert world.first_key.material.fingerprint() not in serve(world)


@pytest.mark.story("lemur: the old one was never detached")
async def test_a_second_sweep_right_after_a_success_does_nothing() -> None:
    world = await World.make(max_age="30d")
    await sweep(world.worker())
    world.clock.forward(hours=2)
    await sweep(world.worker())
    state = (world.provider.made, list(world.fleet.rolls), dict(await world.store.annotations(world.secret)))
    for _ in range(8):
        world.clock.forward(minutes=1)
        assert (await sweep(world.worker())).is_well
    assert state == (world.provider.made, world.fleet.rolls, dict(await world.store.annotations(world.secret)))


@pytest.mark.story("AWS: a pending version that nobody cleans up")
async def test_a_stale_staged_value_is_cleared_or_adopted() -> None:
    world = await World.make()
    await world.store.stage(world.secret, world.provider.new_key(), "5b0e8a4c-0000-4000-8000-000000000000")
    await rotated(world)
    assert world.provider.made == 2 and serve(world) == {await current(world)}
    async with Scene.of("of our own, from a run that died") as scene:
        number = (await calls_of_a_rotation(PLAIN)).index("store memory.stage")
        actor = scene.actor("A", {number: Fault.DIES_AFTER})
        await actor.run(scene.rotate(actor))
        await scene.finish()
        assert not scene.wrong and scene.world.provider.made == 2
