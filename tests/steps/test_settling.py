"""A store whose readers do not all see a new value at once: no member is rolled before they do, whoever goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows.outcome import Result
from keyturn.errors import UnavailableError
from keyturn.lifecycle import Asked
from keyturn.model import SecretRef, VersionRef
from keyturn.steps.observe import begin
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import World
from tests.steps import plain_flows


class LateStore(MemoryStore):
    """As AWS with replicas: the swap is done, and then there is no telling for how long the others lag behind."""

    late = True

    async def promote(self, secret: SecretRef, version: VersionRef, replacing: VersionRef) -> None:
        await super().promote(secret, version, replacing)
        await self.settled(secret)

    async def settled(self, secret: SecretRef) -> None:
        if self.late:
            raise UnavailableError(f"{secret} is not in sync")


@pytest.mark.parametrize("stores", [1, 2])
async def test_nothing_is_rolled_before_the_store_has_settled(stores: int) -> None:
    world = await World.make(stores=stores, made_of=LateStore)
    late = world.secrets[-1][1]
    assert isinstance(late, LateStore)
    for _, store in world.secrets[:-1]:
        store.late = False  # type: ignore[attr-defined]
    for _ in range(3):  # the first one promotes; each is tried again by its task, and others go on where it ended
        with pytest.raises(UnavailableError):
            await plain_flows.rotate(world.worker(), world.clock.now(), overlap=timedelta(0))
        world.clock.forward(minutes=1)
    assert (await begin(world.worker(), Asked(world.clock.now()))).decision.check in ("unrolled", "promoted_unrecorded")
    assert [fleet.rolls for fleet in world.fleets.values()] == [[]] * stores
    late.late = False
    done = await plain_flows.rotate(world.worker(), world.clock.now(), overlap=timedelta(0))
    assert done.result in (Result.RETIRED, Result.ROTATED)
    assert [sorted(fleet.rolls) for fleet in world.fleets.values()] == [["one", "two"]] * stores
