"""Every run may die, be lied to or sleep at any call it makes, and others may work or meddle meanwhile.

Families of scenarios, enumerated in full: tests/steps/scene.py says what is demanded of each. The stories behind some of
them are told in test_latecomers.py. KEYTURN_EXPLORE=all tries them in more kinds of worlds, for a minute or two.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count

import pytest

from keyturn.errors import KeyturnError
from keyturn.lifecycle import Reason
from keyturn.model import Stage, VersionRef
from keyturn.testing.explorer import EFFECTS, Actor, Fault
from keyturn.testing.world import new_key
from tests.steps.scene import (
    BLIND,
    BY_HAND,
    CAPPED,
    DISABLING,
    IN_PLACE,
    LOOKS_TWICE,
    NO_OVERLAP,
    ONE_LOOK,
    OWN,
    PLAIN,
    POOL,
    REPLACED,
    SEASONED,
    SEASONED_IN_PLACE,
    SEASONED_OWN,
    SEASONED_POOL,
    SEASONED_SLOTS,
    SLOTS,
    TWO_STORES,
    Findings,
    Kind,
    Scene,
    calls_of_a_rotation,
)

THOROUGH = os.environ.get("KEYTURN_EXPLORE") == "all"
PASSING = (Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.ANSWER_LOST, Fault.UNAVAILABLE)


def kinds(*usual: Kind, also: tuple[Kind, ...] = ()) -> pytest.MarkDecorator:
    """The kinds of worlds to try in; `also`: when there is time."""
    chosen = (*usual, ONE_LOOK)
    return pytest.mark.parametrize("kind", (*chosen, LOOKS_TWICE, *also) if THOROUGH else chosen, ids=str)


def faults_of(call: str) -> tuple[Fault, ...]:
    """Those that differ. A read whose answer is lost or late is one that found nobody, and twice it is as good as once."""
    if call.rpartition(".")[2] in EFFECTS:
        return tuple(Fault)
    return (Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.UNAVAILABLE, Fault.DENIED)


def effects_of(calls: list[str]) -> int:
    return sum(call.rpartition(".")[2] in EFFECTS for call in calls)


async def test_a_store_that_gives_one_look_is_looked_at_once_in_a_step() -> None:
    calls = [call for call in await calls_of_a_rotation(ONE_LOOK) if call.startswith("store")]
    assert calls[:8] == [
        "store memory.look",  # observe
        "store memory.look",  # write
        "store memory.stage",
        "store memory.annotate",
        "store memory.look",  # validate
        "store memory.look",  # promote
        "store memory.swap",
        "store memory.annotate",
    ]
    assert not {"store memory.stages", "store memory.annotations"} & set(calls)


# One worker.


@kinds(
    *(PLAIN, POOL, TWO_STORES, BLIND, SLOTS, IN_PLACE, OWN, REPLACED),
    also=(SEASONED_OWN, SEASONED_POOL, BY_HAND, NO_OVERLAP, SEASONED, SEASONED_SLOTS, DISABLING, SEASONED_IN_PLACE),
)
async def test_one_more_run_ends_what_a_fault_at_any_call_left(kind: Kind) -> None:
    found = Findings()
    for number, call in enumerate(await calls_of_a_rotation(kind)):
        for fault in PASSING:
            async with Scene.of(f"A {fault.value} {number} {call}", kind) as scene:
                actor = scene.actor("A", {number: fault})
                await actor.run(scene.rotate(actor))
                unseen = not kind.can_list and "create" in call
                await scene.finish(strays=1 if unseen or (not kind.can_list and "stage" in call) else 0)
                found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    PLAIN,
    TWO_STORES,
    BLIND,
    OWN,
    also=(SEASONED_OWN, POOL, SEASONED_POOL, BY_HAND, NO_OVERLAP, SEASONED, SLOTS, DISABLING, IN_PLACE),
)
async def test_one_more_run_ends_what_a_denial_at_any_call_left(kind: Kind) -> None:
    found = Findings()
    for number, call in enumerate(await calls_of_a_rotation(kind)):
        async with Scene.of(f"A is denied {number} {call}", kind) as scene:
            actor = scene.actor("A", {number: Fault.DENIED})
            await actor.run(scene.rotate(actor))
            await scene.finish()
            found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    *(PLAIN, POOL, TWO_STORES, SLOTS, DISABLING, IN_PLACE, OWN),
    also=(SEASONED_OWN, SEASONED_POOL, BY_HAND, BLIND, SEASONED, SEASONED_SLOTS, SEASONED_IN_PLACE),
)
async def test_a_fault_at_any_call_of_a_retirement_is_made_good_by_the_next(kind: Kind) -> None:
    found = Findings()
    for fault in PASSING:
        for number in count():
            async with Scene.of(f"retire {fault.value} {number}", kind) as scene:
                actor = scene.actor("A")
                await actor.run(scene.rotate(actor))
                scene.world.clock.forward(hours=2)
                actor = scene.actor("R", {number: fault})
                await actor.run(scene.retire(actor))
                if number >= len(actor.calls):
                    break
                scene.title += f" {actor.calls[number]}"
                await scene.finish()
                found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    *(PLAIN, POOL, SEASONED, SLOTS, IN_PLACE, OWN),
    also=(SEASONED_OWN, SEASONED_POOL, BY_HAND, TWO_STORES, NO_OVERLAP, SEASONED_SLOTS, SEASONED_IN_PLACE),
)
async def test_an_undo_that_fails_anywhere_leaves_nothing_for_good(kind: Kind) -> None:
    found = Findings()
    async with Scene.of("a key that is refused for good", kind) as scene:
        calls = (await _refused(scene)).calls
    for number, call in enumerate(calls):
        for fault in faults_of(call):
            async with Scene.of(f"a key that is refused for good; A {fault.value} {number} {call}", kind) as scene:
                actor = await _refused(scene, {number: fault})
                assert actor.calls[: number + 1] == calls[: number + 1], "until its fault it is the same run"
                scene.world.provider.refuses_new = False
                scene.world.clock.forward(minutes=5)
                await scene.finish(runs=2)  # the first may have to find out that the staged key is no good
                found.add(scene)
    found.demand_none(at_least=30)


async def _refused(scene: Scene, faults: dict[int, Fault] | None = None) -> Actor:
    """A run whose new key is refused for good."""
    scene.world.provider.refuses_new = True
    actor = scene.actor("A", faults)
    await actor.run(scene.rotate(actor))
    return actor


@kinds(PLAIN, also=(POOL, SEASONED_POOL, BY_HAND, TWO_STORES, NO_OVERLAP, SEASONED, SLOTS, IN_PLACE))
async def test_an_undo_that_sleeps_anywhere_spares_a_key_that_others_brought_into_service(kind: Kind) -> None:
    """A believes that its key is refused for good; the others find it accepted a little later."""
    found = Findings()
    for number in count():
        undoing = True
        for stop in (None, *range(effects_of(await calls_of_a_rotation(kind)) + 1)):
            async with Scene.of(f"A sleeps before {number}, the next rotation gets to {stop}", kind) as scene:
                scene.world.provider.slow_to_accept = timedelta(seconds=45)
                sleeper = scene.actor("A")
                sleeper.start(scene.rotate(sleeper))
                undoing = await sleeper.until(calls=number)
                scene.world.provider.slow_to_accept = timedelta(0)
                await _sleep_through(scene, sleeper, stop)
                await scene.finish(runs=6)
                found.add(scene)
            if "canary local.candidate" not in sleeper.calls:
                break  # before the canary has spoken it is any sleeper
        if not undoing:
            break
    found.demand_none(at_least=30)


# Two workers, and more.


@kinds(
    *(PLAIN, POOL, TWO_STORES, SLOTS, IN_PLACE, OWN, REPLACED),
    also=(
        *(SEASONED_OWN, SEASONED_POOL, BY_HAND, NO_OVERLAP, BLIND, SEASONED, SEASONED_SLOTS, DISABLING, CAPPED),
        SEASONED_IN_PLACE,
    ),
)
async def test_two_workers_that_take_turns_anywhere_make_one_rotation(kind: Kind) -> None:
    """A until before any effect, B until before any, A until before any later one, then B to its end, then A.

    Of two slots, the text that B bars displaces what A has staged: both give up, and the key that A made is an old one then.
    Where an overlap is over, the second run retires that, and the third one rotates.
    """
    found, effects = Findings(), effects_of(await calls_of_a_rotation(kind))
    runs = 3 if kind == SEASONED_SLOTS else 2
    for first in range(effects + 1):
        for theirs in range(effects + 3):
            for then in (
                range(first, effects + 1) if THOROUGH else (first, *((first + 1, first + 2) if kind == PLAIN else ()))
            ):
                async with Scene.of(f"A to effect {first}, B to {theirs}, A to {then}", kind) as scene:
                    a, b = scene.actor("A"), scene.actor("B")
                    a.start(scene.rotate(a))
                    b.start(scene.rotate(b))
                    await a.until(effects=first)
                    await b.until(effects=theirs)
                    await a.until(effects=then)
                    await b.end()
                    await a.end()
                    await scene.finish(runs=runs)
                    found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    PLAIN,
    TWO_STORES,
    OWN,
    also=(SEASONED_OWN, POOL, SEASONED_POOL, BY_HAND, NO_OVERLAP, SEASONED, SLOTS, DISABLING, IN_PLACE, REPLACED),
)
async def test_a_worker_that_sleeps_anywhere_through_anything_does_no_harm(kind: Kind) -> None:
    """Meanwhile the others finish its rotation; retire the old key too; and begin the next, as far as any effect of it."""
    found, calls = Findings(), await calls_of_a_rotation(kind)
    for number, call in enumerate(calls):
        before_an_effect = call.rpartition(".")[2] in EFFECTS
        stops = range(effects_of(calls) + 1) if THOROUGH or before_an_effect else ()
        for stop in (None, *stops):
            async with Scene.of(f"A sleeps before {number} {call}, the next rotation gets to {stop}", kind) as scene:
                sleeper = scene.actor("A")
                sleeper.start(scene.rotate(sleeper))
                await sleeper.until(calls=number)
                await _sleep_through(scene, sleeper, stop)
                await scene.finish(runs=6)
                found.add(scene)
    found.demand_none(at_least=30)


async def _sleep_through(scene: Scene, sleeper: Actor, stop: int | None) -> None:
    """Others end the rotation, retire its old key, and begin the next one: before that one's effect `stop` A wakes."""
    for work in (scene.rotate, scene.retire):
        actor = scene.actor(work.__name__)
        await actor.run(work(actor))
        scene.world.clock.forward(hours=2)
    last = scene.actor("next")
    if stop is not None:
        last.start(scene.rotate(last, scene.world.clock.now()))
        await last.until(effects=stop)
    await sleeper.end()
    scene.watch()
    if stop is not None:
        await last.end()


@kinds(
    PLAIN,
    DISABLING,
    also=(OWN, SEASONED_OWN, POOL, SEASONED_POOL, BY_HAND, TWO_STORES, SEASONED, SLOTS, SEASONED_SLOTS, IN_PLACE, REPLACED),
)
async def test_a_retirement_that_sleeps_anywhere_touches_no_later_key(kind: Kind) -> None:
    found = Findings()
    for number in count():
        asleep = False
        for stop in count():
            async with Scene.of(f"retire sleeps before {number}, the next rotation gets to effect {stop}", kind) as scene:
                actor = scene.actor("A")
                await actor.run(scene.rotate(actor))
                scene.world.clock.forward(hours=2)
                sleeper = scene.actor("R")
                sleeper.start(scene.retire(sleeper))
                asleep = await sleeper.until(calls=number)
                actor = scene.actor("B")
                await actor.run(scene.retire(actor))
                scene.world.clock.forward(hours=1)
                last = scene.actor("next")
                in_use = (await scene.world.store.current(scene.world.secret)).material
                last.start(scene.rotate(last, scene.world.clock.now()))
                on_its_way = await last.until(effects=stop)
                await sleeper.end()
                scene.watch()
                await last.end()
                if not scene.world.provider.accepts(in_use):
                    scene.complain("the later old key did not live through its overlap")
                await scene.finish()
                found.add(scene)
            if not on_its_way:
                break
        if not asleep:
            break
    found.demand_none(at_least=30)


@kinds(PLAIN, TWO_STORES, also=(POOL, SEASONED_POOL, BY_HAND, NO_OVERLAP, SEASONED, SLOTS, DISABLING, IN_PLACE))
async def test_retire_now_at_any_moment_of_a_rotation_breaks_nothing(kind: Kind) -> None:
    found, calls = Findings(), await calls_of_a_rotation(kind)
    for number, call in enumerate([*calls, "the end"]):
        async with Scene.of(f"retire --now before {number} {call}", kind) as scene:
            a, r = scene.actor("A"), scene.actor("R")
            a.start(scene.rotate(a))
            await a.until(calls=number)
            await r.run(scene.retire(r, now=True))
            await a.end()
            await scene.finish()
            found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    *(PLAIN, POOL, TWO_STORES, SLOTS, IN_PLACE),
    also=(SEASONED_POOL, BY_HAND, NO_OVERLAP, SEASONED, SEASONED_SLOTS, DISABLING, SEASONED_IN_PLACE),
)
async def test_an_incident_at_any_moment_of_a_rotation_ends_with_a_key_made_after_the_call(kind: Kind) -> None:
    found, calls = Findings(), await calls_of_a_rotation(kind)
    for number, call in enumerate([*calls, "the end"]):
        for dies in (False, True):
            async with Scene.of(f"an incident before {number} {call}{', and A dies' if dies else ''}", kind) as scene:
                a, b = scene.actor("A"), scene.actor("B")
                a.start(scene.rotate(a))
                await a.until(calls=number)
                scene.world.clock.forward(seconds=10)
                called = scene.world.clock.now()
                leaked = (await scene.world.store.current(scene.world.secret)).material
                outcome = await b.run(scene.rotate(b, called, Reason.INCIDENT))
                await scene.a_person_deletes()
                if isinstance(outcome, KeyturnError) or scene.world.provider.accepts(leaked):
                    scene.complain(f"the leaked key outlives the call: {str(outcome)[:90]}")
                a.dead = dies
                await a.end()
                await scene.finish(runs=2, asked=called, reason=Reason.INCIDENT)
                found.add(scene)
    found.demand_none(at_least=30)


@kinds(
    *(PLAIN, POOL, SLOTS),
    also=(SEASONED_POOL, BY_HAND, TWO_STORES, NO_OVERLAP, SEASONED, SEASONED_SLOTS, DISABLING, IN_PLACE),
)
async def test_two_workers_whose_notes_are_merged_blindly_still_make_one_rotation(kind: Kind) -> None:
    """In some stores a note that is written while another worker writes is lost. The truth is rebuilt from what is seen."""
    found, effects = Findings(), effects_of(await calls_of_a_rotation(kind))
    for first in range(effects + 1):
        for theirs in range(effects + 3):
            async with Scene.of(f"A to effect {first}, B to {theirs}", kind, merges_notes=True) as scene:
                a, b = scene.actor("A"), scene.actor("B")
                a.start(scene.rotate(a))
                b.start(scene.rotate(b))
                await a.until(effects=first)
                await b.until(effects=theirs)
                await a.end()
                await b.end()
                await scene.finish(runs=3)
                found.add(scene)
    found.demand_none(at_least=30)


# People.

Meddle = Callable[[Scene], Awaitable[bool]]


async def sets_a_key_of_their_own(scene: Scene) -> bool:
    scene.world.change_by_hand(scene.world.provider.add(new_key(), "made by hand, too").material)
    return True


async def puts_the_old_value_back(scene: Scene) -> bool:
    scene.world.change_by_hand(scene.world.first_key.material)
    return scene.world.provider.accepts(scene.world.first_key.material)


async def sets_another_key_in_the_second_store(scene: Scene) -> bool:
    scene.world.change_by_hand(scene.world.provider.add(new_key(), "made by hand, too").material, store=1)
    return True


async def puts_the_old_value_back_in_the_second_store(scene: Scene) -> bool:
    scene.world.change_by_hand(scene.world.first_key.material, store=1)
    return scene.world.provider.accepts(scene.world.first_key.material)


async def deletes_the_new_key(scene: Scene) -> bool:
    ours = [key_id for key_id, (ref, _) in scene.world.provider.keys.items() if ref.name.startswith("keyturn-")]
    return _delete(scene, ours[0]) if ours else False


async def deletes_the_old_key(scene: Scene) -> bool:
    return _delete(scene, scene.world.first_key.ref.id)


async def rolls_a_member_back(scene: Scene) -> bool:
    material, fleet = scene.world.first_key.material, scene.world.fleet
    fleet.loaded["one"] = VersionRef("by hand", material.fingerprint())
    if "one" in fleet.rolls:
        fleet.rolls.remove("one")  # it has to be done again
    return scene.world.provider.accepts(material)


async def discards_what_is_staged(scene: Scene) -> bool:
    pending = (await scene.world.store.stages(scene.world.secret)).get(Stage.PENDING)
    if pending is not None:
        await scene.world.store.discard(scene.world.secret, pending)
    return pending is not None


def _delete(scene: Scene, key_id: str) -> bool:
    if key_id not in scene.world.provider.keys:
        return False
    scene.killed.add(scene.world.provider.keys.pop(key_id)[1].fingerprint())
    return True


ANYWHERE = (
    sets_a_key_of_their_own,
    puts_the_old_value_back,
    deletes_the_new_key,
    deletes_the_old_key,
    rolls_a_member_back,
    discards_what_is_staged,
)
IN_A_SECOND_STORE = (sets_another_key_in_the_second_store, puts_the_old_value_back_in_the_second_store)


def people(kind: Kind) -> tuple[Meddle, ...]:
    if kind.stores == 1:
        return ANYWHERE
    return (*ANYWHERE, *IN_A_SECOND_STORE) if THOROUGH else IN_A_SECOND_STORE


@kinds(PLAIN, TWO_STORES, also=(POOL, SEASONED_POOL, BY_HAND, SEASONED, DISABLING))
async def test_whatever_a_person_does_meanwhile_the_next_rotation_puts_in_order(kind: Kind) -> None:
    """Where the key in service itself was deleted, that rotation is one for an incident."""
    found, calls = Findings(), await calls_of_a_rotation(kind)
    for meddle in people(kind):
        for number, call in enumerate([*calls, "the end"]):
            for dies in (False, True):
                async with Scene.of(f"somebody {meddle.__name__} before {number} {call}, dies: {dies}", kind) as scene:
                    actor = scene.actor("A")
                    actor.start(scene.rotate(actor))
                    await actor.until(calls=number)
                    if not await meddle(scene):
                        continue
                    actor.dead = dies
                    await actor.end()
                    await _put_in_order(scene, meddle)
                    found.add(scene)
    found.demand_none(at_least=30)


# Until when a person's act can be noticed by a retirement: the look at it. (What they do after that look is their own.)
LAST_LOOKS: dict[Meddle, str] = {
    puts_the_old_value_back: "store memory.current",
    puts_the_old_value_back_in_the_second_store: "store memory.current",
    rolls_a_member_back: "fleet local.serving",
    deletes_the_new_key: "canary local.member",
}


@kinds(
    PLAIN,
    TWO_STORES,
    DISABLING,
    also=(
        POOL,
        SEASONED_POOL,
        BY_HAND,
        SEASONED,
    ),
)
async def test_whatever_a_person_does_during_a_retirement_no_key_in_service_is_revoked(kind: Kind) -> None:
    found = Findings()
    for meddle in people(kind):
        for number in count():
            async with Scene.of(f"somebody {meddle.__name__} before the retirement's {number}", kind) as scene:
                actor = scene.actor("A")
                await actor.run(scene.rotate(actor))
                scene.world.clock.forward(hours=2)
                actor = scene.actor("R")
                actor.start(scene.retire(actor))
                goes_on = await actor.until(calls=number)
                if not goes_on or LAST_LOOKS.get(meddle, "") in actor.calls or not await meddle(scene):
                    break
                scene.watch()
                await actor.end()
                await _put_in_order(scene, meddle)
                found.add(scene)
    found.demand_none(at_least=30)


async def _put_in_order(scene: Scene, meddle: Meddle) -> None:
    scene.watch()
    scene.world.clock.forward(hours=2)
    await scene.finish(
        runs=5,
        asked=scene.world.clock.now(),
        reason=Reason.INCIDENT if meddle is deletes_the_new_key else Reason.MANUAL,
        # A key that was created and not staged bears the name of a rotation that cannot come again once CURRENT is another.
        strays=1 if meddle is sets_a_key_of_their_own else 0,
        # A key that a person has replaced is that person's to delete.
        first_key_goes=meddle is not sets_a_key_of_their_own,
    )
