"""A provider that takes two keys and no third: what a run leaves behind must not be in the way of the next."""

from __future__ import annotations

from itertools import count

import pytest

from keyturn.errors import KeyturnError
from keyturn.lifecycle import Reason
from keyturn.testing.explorer import Fault
from tests.steps.scene import CAPPED, Findings, Scene, calls_of_a_rotation


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.ANSWER_LOST, Fault.UNAVAILABLE], ids=str)
async def test_a_run_that_fails_anywhere_leaves_room_for_the_next(fault: Fault) -> None:
    """The second of two may be needed: the first one finds a key that nobody can come with any more, and revokes it."""
    found = Findings()
    for number, call in enumerate(await calls_of_a_rotation(CAPPED)):
        async with Scene.of(f"A {fault.value} {number} {call}", CAPPED) as scene:
            actor = scene.actor("A", {number: fault})
            await actor.run(scene.rotate(actor))
            await scene.finish(runs=2)
            found.add(scene)
    found.demand_none(at_least=20)


async def test_an_incident_does_not_wait_until_the_key_of_a_dead_run_is_old() -> None:
    number = (await calls_of_a_rotation(CAPPED)).index("provider.create")
    async with Scene.of("A dies with a key in its hands", CAPPED) as scene:
        actor = scene.actor("A", {number: Fault.DIES_AFTER})
        await actor.run(scene.rotate(actor))
        leaked = (await scene.world.store.current(scene.world.secret)).material
        called = scene.world.clock.now()
        for name in ("the first", "the second"):
            outcome = await (again := scene.actor(name)).run(scene.rotate(again, called, Reason.INCIDENT))
        assert not isinstance(outcome, KeyturnError)
        assert not scene.world.provider.accepts(leaked)
        await scene.finish(asked=called, reason=Reason.INCIDENT)
        assert not scene.wrong


async def test_a_worker_whose_key_is_in_the_way_brings_no_dead_key_into_service() -> None:
    """It was only asleep, and wakes before any call of the one that takes its key for lost."""
    made = (await calls_of_a_rotation(CAPPED)).index("provider.create") + 1
    found = Findings()
    for number in count():
        async with Scene.of(f"A sleeps with a key in its hands, B gets to {number}", CAPPED) as scene:
            sleeper, other = scene.actor("A"), scene.actor("B")
            sleeper.start(scene.rotate(sleeper))
            await sleeper.until(calls=made)
            other.start(scene.rotate(other))
            on_its_way = await other.until(calls=number)
            await sleeper.end()
            await other.end()
            await scene.finish(runs=3)
            found.add(scene)
        if not on_its_way:
            break
    found.demand_none(at_least=15)
