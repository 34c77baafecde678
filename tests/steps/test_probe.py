"""The liveness probe: only a key that is refused twice, and still in service, is dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.assembly import Assembly
from keyturn.errors import ThrottledError, UnavailableError
from keyturn.journal import Journal
from keyturn.model import Judgement, Verdict
from keyturn.steps.probe import probe
from keyturn.testing.world import World, new_key
from tests.steps import plain_flows


async def probed(world: World, change: Callable[[Assembly], None] = lambda _: None) -> Judgement:
    worker = world.worker()
    change(worker)
    return await probe(worker, Journal.parse(await world.store.annotations(world.secret)))


def kill(world: World) -> None:
    del world.provider.keys[world.first_key.ref.id]


async def test_a_key_that_is_taken_is_alive_and_one_that_is_gone_is_dead() -> None:
    world = await World.make()
    assert (await probed(world)).verdict is Verdict.ACCEPTED
    kill(world)
    assert (await probed(world)).verdict is Verdict.REJECTED


@pytest.mark.parametrize("error", [ThrottledError("429"), UnavailableError("503")])
async def test_a_limit_and_an_outage_are_no_death(error: ThrottledError | UnavailableError) -> None:
    world = await World.make()
    world.provider.fail["check"] = error
    assert (await probed(world)).verdict is Verdict.INDETERMINATE
    del world.provider.fail["check"]
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "429")
    assert (await probed(world)).verdict is Verdict.INDETERMINATE


async def test_a_fresh_key_that_is_not_known_everywhere_is_not_dead() -> None:
    world = await World.make()
    await plain_flows.rotate(world.worker(), world.clock.now())
    world.provider.verdict = Judgement(Verdict.REJECTED, "401")
    assert (await probed(world)).verdict is Verdict.INDETERMINATE
    world.clock.forward(minutes=5)
    assert (await probed(world)).verdict is Verdict.REJECTED


async def test_a_key_that_is_replaced_while_it_is_asked_for_is_not_dead() -> None:
    world = await World.make()
    kill(world)

    def replaced(worker: Assembly) -> None:
        async def pause(seconds: float) -> None:
            world.change_by_hand(new_key())

        worker.pause = pause

    assert (await probed(world, replaced)).verdict is Verdict.INDETERMINATE


async def test_the_old_key_is_not_tried_for_that_would_be_a_use_of_it() -> None:
    world = await World.make()
    await plain_flows.rotate(world.worker(), world.clock.now())
    world.provider.checks_are_uses = True
    await probed(world)
    assert await world.provider.last_used(world.first_key.ref) is None
