"""Several stores at once: all are staged before any is promoted, and one that fails after the pivot is carried forward."""

from __future__ import annotations

from typing import Any

import pytest

from flows.outcome import Result
from flows.swept import State
from keyturn.errors import DeniedError, KeyturnError, UnavailableError
from keyturn.model import Stage, VersionRef
from keyturn.stores.memory import MemoryStore
from tests.steps.scene import TWO_STORES, Scene, calls_of_a_rotation

STAGES, PROMOTES = ("store memory.stage", "store second.stage"), ("store memory.promote", "store second.promote")


class Broken:
    """The second store lets nobody write through `verb` while it is `down`."""

    def __init__(self, store: MemoryStore, verb: str, error: KeyturnError) -> None:
        self.down, self._store, self._verb = True, store, verb
        found = getattr(store, verb)

        async def call(*arguments: Any) -> Any:
            if self.down:
                raise error
            return await found(*arguments)

        setattr(store, verb, call)


async def current(scene: Scene, index: int) -> VersionRef:
    secret, store = scene.world.secrets[index]
    return (await store.current(secret)).version


async def test_all_are_staged_before_any_is_promoted() -> None:
    calls = await calls_of_a_rotation(TWO_STORES)
    assert [call for call in calls if call in (*STAGES, *PROMOTES)] == [*STAGES, *PROMOTES]
    assert calls.index("canary local.candidate") < calls.index(PROMOTES[0])


@pytest.mark.parametrize("error", [UnavailableError("it is down"), DeniedError("it may not")], ids=["down", "denied"])
async def test_one_that_takes_no_staged_value_stops_it_before_any_is_promoted(error: KeyturnError) -> None:
    async with Scene.of("the second store takes nothing", TWO_STORES) as scene:
        broken = Broken(scene.world.secrets[1][1], "stage", error)
        before = [await current(scene, index) for index in (0, 1)]
        outcome = await scene.actor("A").run(scene.rotate(scene.actors[-1]))
        assert isinstance(outcome, type(error))
        assert [await current(scene, index) for index in (0, 1)] == before
        made = len(scene.world.provider.keys)
        staged = Stage.PENDING in await scene.world.store.stages(scene.world.secret)
        # What passes is waited for, with the key that is staged; what does not pass is undone.
        assert (staged, made) == ((True, 2) if isinstance(error, UnavailableError) else (False, 1))
        broken.down = False
        await scene.finish(runs=1)
        assert scene.wrong == []


@pytest.mark.parametrize("error", [UnavailableError("it is down"), DeniedError("it may not")], ids=["down", "denied"])
async def test_one_that_fails_after_the_pivot_is_carried_forward_by_the_sweep(error: KeyturnError) -> None:
    async with Scene.of("the second store is down when it is to follow", TWO_STORES) as scene:
        broken = Broken(scene.world.secrets[1][1], "promote", error)
        outcome = await scene.actor("A").run(scene.rotate(scene.actors[-1]))
        assert isinstance(outcome, type(error))
        decided, behind = [await current(scene, index) for index in (0, 1)]
        assert decided != behind
        assert scene.world.provider.revoked == []  # it still serves the old key: nothing is revoked
        made = len(scene.world.provider.keys)

        broken.down = False
        scene.world.clock.forward(hours=1)
        swept = await scene.actor("sweep").run(scene.sweep(scene.actors[-1]))
        assert swept.state is State.DONE
        assert [await current(scene, index) for index in (0, 1)] == [decided, decided]
        assert len(scene.world.provider.keys) == made  # no second key
        await scene.finish(runs=1)
        assert scene.wrong == []


async def test_one_that_was_changed_by_hand_after_the_pivot_follows_all_the_same() -> None:
    """The first store decides."""
    async with Scene.of("a person writes into the second store", TWO_STORES) as scene:
        broken = Broken(scene.world.secrets[1][1], "promote", UnavailableError("it is down"))
        await scene.actor("A").run(scene.rotate(scene.actors[-1]))
        broken.down = False
        scene.world.change_by_hand(scene.world.provider.add(scene.world.first_key.material, "again").material, store=1)
        outcome = await scene.actor("B").run(scene.rotate(scene.actors[-1]))
        assert outcome.result in (Result.ROTATED, Result.PENDING)
        assert await current(scene, 1) == await current(scene, 0)
