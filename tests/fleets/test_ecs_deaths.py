"""A roll of an ECS service whose worker dies, stalls or is lied to at any of its calls to AWS."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keyturn.errors import ConflictError, KeyturnError, LostAnswerError
from keyturn.testing.explorer import Died
from keyturn.testing.world import World
from tests.fleets.ecs_scene import CREDENTIAL, SERVICE, scene_of

Call = Callable[..., Awaitable[Any]]
_BEGINNING = ("DescribeServices", "DescribeTaskDefinition", "DescribeServices", "TagResource", "DescribeServices")


def dying(at: int, *, after: bool, counted: str = "") -> Callable[[Call], Call]:
    """The process ends at the call of this number, before or after it is made. `counted`: of calls of this operation."""

    def over(call: Call) -> Call:
        made = 0

        async def one(operation: str, **arguments: Any) -> Any:
            nonlocal made
            counts = counted in ("", operation)
            made += counts
            if counts and made == at and not after:
                raise Died
            answer = await call(operation, **arguments)
            if counts and made == at:
                raise Died
            return answer

        return one

    return over


def noting(names: list[str]) -> Callable[[Call], Call]:
    def over(call: Call) -> Call:
        async def one(operation: str, **arguments: Any) -> Any:
            names.append(operation)
            return await call(operation, **arguments)

        return one

    return over


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_run_that_dies_at_any_call_is_finished_by_another_with_one_deployment(after: bool) -> None:
    names: list[str] = []
    with scene_of(await World.make()) as undisturbed:
        await undisturbed.replace(undisturbed.fleet(noting(names)))
    assert tuple(names[:5]) == _BEGINNING
    assert names.count("UpdateService") == 1
    for at in (*range(1, 9), len(names) - 1, len(names)):
        with scene_of(await World.make()) as scene:
            scene.put("sk-" + secrets.token_hex(24))
            with pytest.raises(Died):
                await scene.replace(scene.fleet(dying(at, after=after)))
            scene.double.forward(7)
            await scene.replace(scene.fleet())
            assert scene.deployments == 1, f"killed {'after' if after else 'before'} call {at}"
            assert scene.served() == {scene.lives.read()}
            assert await scene.fleet().was_rolled(SERVICE, CREDENTIAL, scene.rollout())


class Stalled:
    """A worker that is held before the call of this number, until it is let go. `counted`: as for `dying`."""

    def __init__(self, at: int, counted: str = "") -> None:
        self.at, self.made, self.counted = at, 0, counted
        self.held, self.go = asyncio.Event(), asyncio.Event()
        self.name = ""

    def over(self, call: Call) -> Call:
        async def one(operation: str, **arguments: Any) -> Any:
            counts = self.counted in ("", operation)
            self.made += counts
            if counts and self.made == self.at:
                self.name = operation
                self.held.set()
                await self.go.wait()
            return await call(operation, **arguments)

        return one


async def test_a_worker_that_stalls_at_any_call_while_another_rolls_does_no_harm() -> None:
    """One that wakes right before UpdateService makes one deployment more, for ECS has no condition: it is harmless."""
    for at in range(1, 9):
        with scene_of(await World.make()) as scene:
            scene.put("sk-" + secrets.token_hex(24))
            stalled = Stalled(at)
            late = asyncio.ensure_future(scene.replace(scene.fleet(stalled.over)))
            await stalled.held.wait()
            await scene.replace(scene.fleet())
            assert scene.deployments == 1
            stalled.go.set()
            await late
            assert scene.deployments == (2 if stalled.name == "UpdateService" else 1), f"stalled at call {at}"
            assert scene.served() == {scene.lives.read()}
            assert await scene.fleet().was_rolled(SERVICE, CREDENTIAL, scene.rollout())


async def test_a_worker_that_stalls_through_the_next_promote_makes_nobody_believe_the_old_value() -> None:
    """Wherever it wakes, the later roll is either known to be done, and every task has its value, or is done again."""
    for at in range(1, 9):
        with scene_of(await World.make()) as scene:
            scene.put("sk-" + secrets.token_hex(24))
            stalled = Stalled(at)
            late = asyncio.ensure_future(scene.replace(scene.fleet(stalled.over)))
            await stalled.held.wait()
            scene.put("sk-" + secrets.token_hex(24))
            later = scene.rollout("20260103T000000Z")
            await scene.replace(scene.fleet(), later)
            stalled.go.set()
            try:
                await late
            except KeyturnError as error:
                assert isinstance(error, ConflictError)
            scene.double.forward(200)
            fleet = scene.fleet()
            if not await fleet.was_rolled(SERVICE, CREDENTIAL, later):
                await scene.replace(fleet, later)
            assert scene.served() == {scene.lives.read()}
            serving = {await fleet.serving(member, CREDENTIAL) for member in await fleet.members()}
            assert serving == {scene.version}


async def test_an_update_whose_answer_is_lost_is_looked_for_and_not_repeated() -> None:
    with scene_of(await World.make()) as scene:
        scene.put("sk-" + secrets.token_hex(24))
        scene.double.lose.add("UpdateService")
        with pytest.raises(LostAnswerError):
            await scene.replace(scene.fleet(own_client=True))
        await scene.replace(scene.fleet(own_client=True))
        assert scene.deployments == 1


async def test_where_aws_shows_an_old_state_after_a_death_no_task_is_believed_too_early() -> None:
    for stale in range(1, 6):
        with scene_of(await World.make()) as scene:
            scene.put("sk-" + secrets.token_hex(24))
            with pytest.raises(Died):
                await scene.replace(scene.fleet(dying(6, after=True)))
            scene.double.stale = stale
            await scene.replace(scene.fleet())
            # What was begun is seen once the second look, after the tag, is a true one.
            assert scene.deployments == (1 if stale <= 2 else 2)
            assert scene.served() == {scene.lives.read()}
