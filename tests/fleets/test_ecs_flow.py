"""Whole rotations over an ECS service: rolled and proved, taken back, interrupted, and by two workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from flows.outcome import Outcome, Result
from keyturn.errors import PermanentError, RolledBackError
from keyturn.lifecycle import Reason
from keyturn.testing.explorer import Died
from keyturn.testing.world import World
from tests.fleets.ecs_scene import CREDENTIAL, Scene, scene_of
from tests.fleets.test_ecs_deaths import Stalled, dying
from tests.steps.plain_flows import plainly, retire, rollback, rotate


@pytest.fixture(autouse=True)
def _without_prefect() -> Iterator[None]:
    with plainly():
        yield


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with scene_of(await World.make()) as made:
        yield made
        for fleet in made.fleets:
            await fleet.aclose()


async def turn(scene: Scene, overlap: timedelta | None = None, reason: Reason = Reason.MANUAL) -> Outcome:
    scene.world.clock.forward(hours=1)
    scene.double.forward(60)
    return await rotate(scene.worker(), scene.world.clock.now(), reason, overlap)


async def test_a_rotation_replaces_the_tasks_and_then_the_old_key_goes(scene: Scene) -> None:
    (old,) = scene.served()
    outcome = await turn(scene)
    assert outcome.result is Result.ROTATED
    assert scene.deployments == 1
    assert scene.served() == {scene.lives.read()} != {old}
    scene.world.clock.forward(hours=3)
    await retire(scene.worker(), scene.world.clock.now())
    assert [key.reveal() for _, key in scene.world.provider.keys.values()] == [scene.lives.read()]
    again = await turn(scene)
    assert (again.result, scene.deployments) == (Result.ROTATED, 2)


async def test_a_key_with_which_no_task_starts_is_taken_back_and_the_old_one_serves_throughout(scene: Scene) -> None:
    (old,) = scene.served()
    scene.double.before = lambda operation, body: _mark_bad(scene, old)
    with pytest.raises(RolledBackError):
        await turn(scene)
    assert scene.served() == {old} == {scene.lives.read()}
    assert scene.deployments == 2  # there, and back
    rollout = scene.service()["tags"][0]["value"].split(" ")[0]
    assert rollout.startswith(scene.version.fingerprint)


def _mark_bad(scene: Scene, old: str) -> None:
    """With any other key than this a program does not become ready, as where its configuration is wrong."""
    if (now := scene.lives.read()) != old:
        scene.lives.never_ready.add(now)


async def test_a_rollback_by_hand_rolls_the_service_onto_the_previous_value(scene: Scene) -> None:
    (old,) = scene.served()
    await turn(scene)
    scene.double.forward(60)
    await rollback(scene.worker())
    assert scene.served() == {old}
    assert scene.deployments == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["TagResource", "UpdateService"])
async def test_a_rotation_that_dies_in_its_roll_is_finished_by_the_next_run(
    scene: Scene, operation: str, after: bool
) -> None:
    scene.world.clock.forward(hours=1)
    asked = scene.world.clock.now()
    with pytest.raises(Died):
        await rotate(scene.worker(scene.fleet(dying(1, after=after, counted=operation))), asked)
    scene.double.forward(3)
    assert len(scene.world.provider.keys) == 2
    assert (await rotate(scene.worker(), asked)).result is Result.ROTATED
    assert (scene.world.provider.made, scene.deployments, scene.served()) == (2, 1, {scene.lives.read()})


@pytest.mark.parametrize(("operation", "deployments"), [("TagResource", 1), ("UpdateService", 2)])
async def test_two_workers_make_one_rotation(scene: Scene, operation: str, deployments: int) -> None:
    """The one that wakes right before UpdateService makes one deployment more."""
    scene.world.clock.forward(hours=1)
    asked = scene.world.clock.now()
    stalled = Stalled(1, operation)
    late = asyncio.ensure_future(rotate(scene.worker(scene.fleet(stalled.over)), asked))
    await stalled.held.wait()
    await rotate(scene.worker(), asked)
    stalled.go.set()
    await late
    assert (scene.world.provider.made, scene.deployments) == (2, deployments)
    assert scene.served() == {scene.lives.read()}


async def test_a_service_whose_tag_is_gone_proves_nothing_and_no_key_is_deleted(scene: Scene) -> None:
    """As where Terraform takes away the tags that it does not know."""
    await turn(scene)
    scene.boto.untag_resource(resourceArn=scene.service()["serviceArn"], tagKeys=[f"keyturn:{CREDENTIAL}"])
    scene.world.clock.forward(hours=3)
    with pytest.raises(PermanentError, match="local/gateway does not serve the current key"):
        await retire(scene.worker(), scene.world.clock.now())
    assert len(scene.world.provider.keys) == 2
    assert scene.deployments == 1
