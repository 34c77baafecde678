"""revoke_first may die, be lied to or sleep at any call: sweeps alone end what it began, and no other key dies for it.

As tests/steps/test_races.py does for a rotation. Refused by wish is the leaked key alone, and only once that is noted.
"""

from __future__ import annotations

from itertools import count

from keyturn.journal import Journal
from keyturn.model import Stage
from keyturn.testing.explorer import Fault
from tests.steps.scene import CAPPED, DISABLING, PLAIN, SEASONED, TWO_STORES, Findings, Kind, Scene
from tests.steps.test_races import PASSING, THOROUGH, kinds

KINDS = kinds(SEASONED, DISABLING, also=(PLAIN, TWO_STORES, CAPPED))
FAULTS = (*PASSING, Fault.DENIED) if THOROUGH else (Fault.DIES_BEFORE, Fault.ANSWER_LOST, Fault.DENIED)

SWEEPS = 4


async def leak_of(scene: Scene) -> str:
    """The key in service, which may be refused from now on: from its note on, which is looked at with every effect."""
    fingerprint = (await scene.world.store.current(scene.world.secret)).version.fingerprint
    scene.killed_once_noted.add(fingerprint)
    return fingerprint


async def ended_by_sweeps(scene: Scene, leaked: str) -> None:
    """Nobody calls again; only sweeps come by. Then the leaked key is refused, and all is as after a rotation."""
    world = scene.world
    for _ in range(SWEEPS):
        world.clock.forward(minutes=30)
        await scene.actor("sweep").run(scene.sweep(scene.actors[-1]))
    if world.provider.knows(leaked):
        scene.complain("the leaked key is accepted after all")
    stages = await world.store.stages(world.secret)
    if set(stages) != {Stage.CURRENT} or stages[Stage.CURRENT].fingerprint == leaked:
        scene.complain(f"the secret holds {', '.join(sorted(stages))}")
    if not world.provider.knows(stages[Stage.CURRENT].fingerprint):
        scene.complain("what is in service is refused")
    for name, fleet in world.fleets.items():
        if set(fleet.loaded.values()) != {stages[Stage.CURRENT]}:
            scene.complain(f"not all of {name} serve CURRENT")
    if len(await world.provider.left_over(stages[Stage.CURRENT].fingerprint)):
        scene.complain("keys of ours are left over")
    note = Journal.parse(await world.store.annotations(world.secret)).leaked
    if note is not None and len(scene.actors) == 1 + SWEEPS:  # who slept may note it of a key that is gone by then
        scene.complain("the note of the leak is still there")


async def noted(scene: Scene) -> bool:
    journal = Journal.parse(await scene.world.store.annotations(scene.world.secret))
    return journal.leaked is not None or journal.promoted_at == scene.asked or len(scene.promoted) > 1


@KINDS
async def test_sweeps_end_what_a_fault_at_any_call_left(kind: Kind) -> None:
    found = Findings()
    for fault in FAULTS:
        for number in count():
            async with Scene.of(f"revoke first, and {fault.value} {number}", kind) as scene:
                leaked = await leak_of(scene)
                actor = scene.actor("R", {number: fault})
                await actor.run(scene.respond(actor, first=True))
                if number >= len(actor.calls):
                    break
                scene.title += f" {actor.calls[number]}"
                if not await noted(scene):  # nothing is done yet: who called is told, and calls again
                    if not scene.world.provider.knows(leaked):
                        scene.complain("it is refused, and nobody knows why")
                    actor = scene.actor("called again")
                    await actor.run(scene.respond(actor, first=True))
                await ended_by_sweeps(scene, leaked)
                found.add(scene)
    found.demand_none(at_least=100)


@KINDS
async def test_a_second_call_overtakes_one_that_sleeps_before_any_effect(kind: Kind) -> None:
    """Both are of the same incident. The one that wakes must not take the new key for the leaked one."""
    found = Findings()
    for number in count():
        async with Scene.of(f"sleeps before effect {number}", kind) as scene:
            leaked = await leak_of(scene)
            sleeper = scene.actor("sleeper")
            sleeper.start(scene.respond(sleeper, first=True))
            goes_on = await sleeper.until(effects=number)
            other = scene.actor("other")
            await other.run(scene.respond(other, first=True))
            await sleeper.end()
            await ended_by_sweeps(scene, leaked)
            found.add(scene)
            if not goes_on:
                break
    found.demand_none(at_least=10)


@KINDS
async def test_it_comes_upon_a_rotation_that_sleeps_anywhere(kind: Kind) -> None:
    """What the rotation had promoted by then is not what was in service when the leak was told of, or it is."""
    found = Findings()
    for number in count():
        async with Scene.of(f"a rotation sleeps before effect {number}", kind) as scene:
            sleeper = scene.actor("rotation")
            sleeper.start(scene.rotate(sleeper))
            goes_on = await sleeper.until(effects=number)
            scene.world.clock.forward(minutes=1)
            leaked = await leak_of(scene)
            actor = scene.actor("R")
            await actor.run(scene.respond(actor, scene.world.clock.now(), first=True))
            await sleeper.end()
            scene.world.clock.forward(hours=2)
            await ended_by_sweeps(scene, leaked)
            found.add(scene)
            if not goes_on:
                break
    found.demand_none(at_least=10)
