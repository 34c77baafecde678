"""Whoever asks, or takes the answer, may die, be lied to or be refused at any call: no leaked key is ended that nobody spoke
of, and a yes that was noted is not lost."""

from __future__ import annotations

from itertools import count

import pytest

from keyturn.journal import Journal
from keyturn.settings import ApprovalSettings
from keyturn.testing.explorer import Fault
from tests.steps import plain_flows
from tests.steps.scene import CAPPED, DISABLING, PLAIN, SEASONED, TWO_STORES, Findings, Kind, Scene
from tests.steps.test_races import THOROUGH, kinds
from tests.steps.test_respond_deaths import FAULTS, SWEEPS, ended_by_sweeps, leak_of, noted

KINDS = (
    kinds(SEASONED, DISABLING, also=(PLAIN, TWO_STORES, CAPPED))
    if THOROUGH
    else pytest.mark.parametrize("kind", [DISABLING], ids=str)
)
POLICIES = pytest.mark.parametrize("first", [False, True], ids=["prove_first", "revoke_first"])


def asking(scene: Scene) -> None:
    approval = ApprovalSettings.model_validate({"when": ["incident"], "timeout": "15m", "then": "keep"})
    scene.world.settings = scene.world.settings.model_copy(update={"approval": approval})


async def answered(scene: Scene) -> bool:
    return Journal.parse(await scene.world.store.annotations(scene.world.secret)).answered is not None


async def say_yes(scene: Scene, name: str, faults: dict[int, Fault] | None = None) -> list[str]:
    """The calls that were made for it."""
    actor = scene.actor(name, faults)
    await actor.run(plain_flows.approve(actor.over(scene.world.worker()), "revoke"))
    return actor.calls


@KINDS
@POLICIES
async def test_a_run_that_dies_anywhere_ends_no_key_and_its_question_is_there_to_be_answered(
    kind: Kind, first: bool
) -> None:
    found = Findings()
    for fault in FAULTS:
        for number in count():
            async with Scene.of(f"asks, and {fault.value} {number}", kind) as scene:
                asking(scene)
                leaked = await leak_of(scene)
                actor = scene.actor("R", {number: fault})
                await actor.run(scene.respond(actor, first=first))
                if number >= len(actor.calls):
                    break
                scene.title += f" {actor.calls[number]}"
                if not await noted(scene):
                    actor = scene.actor("called again")
                    await actor.run(scene.respond(actor, first=first))
                for _ in range(SWEEPS):
                    scene.world.clock.forward(minutes=30)
                    actor = scene.actor("sweep")
                    await actor.run(scene.sweep(actor))
                if not scene.world.provider.knows(leaked):
                    scene.complain("it was ended, and nobody was asked")
                await say_yes(scene, "yes")
                await ended_by_sweeps(scene, leaked)
                found.add(scene)
    found.demand_none(at_least=30)


@KINDS
@POLICIES
async def test_an_answer_that_was_noted_is_done_by_sweeps_whatever_became_of_who_took_it(kind: Kind, first: bool) -> None:
    found = Findings()
    for fault in FAULTS:
        for number in count():
            async with Scene.of(f"answers, and {fault.value} {number}", kind) as scene:
                asking(scene)
                leaked = await leak_of(scene)
                actor = scene.actor("R")
                await actor.run(scene.respond(actor, first=first))
                calls = await say_yes(scene, "yes", {number: fault})
                if number >= len(calls):
                    break
                scene.title += f" {calls[number]}"
                if not await answered(scene) and scene.world.provider.knows(leaked):
                    await say_yes(scene, "yes again")
                await ended_by_sweeps(scene, leaked)
                found.add(scene)
    found.demand_none(at_least=10)
