"""A provider that knows keys by their text alone, as Perplexity: no list, no id, and the successor's login."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, KeyturnError, NotFoundError, PermanentError, RejectedError, UnavailableError
from keyturn.journal import UNKNOWN, Journal
from keyturn.lifecycle import Asked
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Stage
from keyturn.steps.delete import delete
from keyturn.steps.observe import begin
from keyturn.testing.world import Clock, MemoryProvider, World
from tests.steps import plain_flows


@dataclass
class ByText(MemoryProvider):
    """`deleted`: by whom, as fingerprints (the key, its successor)."""

    deleted: list[tuple[str, str]] = field(default_factory=list)

    async def find(self, label: str) -> Sequence[KeyRef]:
        return []

    async def revoke(self, key: KeyRef) -> None:
        raise PermanentError("this provider knows keys by their text alone")

    async def revoke_text(self, material: KeyMaterial, successor: KeyMaterial) -> None:
        self._maybe_fail("revoke_text")
        assert self.accepts(successor), "who logs in has to be somebody"
        for id, (_, key) in list(self.keys.items()):
            if key == material:
                del self.keys[id]
                self.revoked.append(id)
                self.deleted.append((material.fingerprint(), successor.fingerprint()))


async def by_text() -> tuple[World, ByText, Assembly]:
    world = await World.make()
    provider = ByText(world.clock, keys=world.provider.keys, made=world.provider.made)
    provider.capabilities = replace(provider.capabilities, can_list=False, supports_expiry=False, reports_last_use=False)
    world.provider = provider
    return world, provider, world.worker()


async def rotate(world: World, worker: Assembly) -> Result:
    world.clock.forward(seconds=1)
    return (await plain_flows.rotate(worker, world.clock.now())).result


async def retire(world: World, worker: Assembly) -> Result:
    world.clock.forward(hours=2)
    return (await plain_flows.retire(worker, world.clock.now())).result


async def current(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


async def test_every_old_key_goes_by_its_text_and_by_its_successor() -> None:
    """Also the one that was made by hand, and whose id nobody knows."""
    world, provider, worker = await by_text()
    served = [await current(world)]
    for _ in range(2):
        await rotate(world, worker)
        served.append(await current(world))
        await retire(world, worker)
    assert provider.deleted == [(served[0], served[1]), (served[1], served[2])]
    assert provider.knows(served[2]) and len(provider.keys) == 1
    assert Journal.parse(await world.store.annotations(world.secret)).keys == {served[2]: "key_3"}
    assert not any("by hand" in line.sentence for line in worker.timeline)


async def test_a_deletion_that_failed_is_made_by_the_next_run() -> None:
    world, provider, worker = await by_text()
    old = await current(world)
    await rotate(world, worker)
    provider.fail["revoke_text"] = UnavailableError("not now")
    with pytest.raises(UnavailableError):
        await retire(world, worker)
    assert provider.knows(old)
    assert Stage.PREVIOUS in await world.store.stages(world.secret), "the text is still held"
    provider.fail.clear()
    await retire(world, worker)
    assert not provider.knows(old)


async def test_a_key_whose_text_is_gone_is_left_to_a_person() -> None:
    world, provider, worker = await by_text()
    await rotate(world, worker)
    previous = (await world.store.stages(world.secret))[Stage.PREVIOUS]
    await world.store.discard(world.secret, previous)
    await retire(world, worker)
    assert provider.deleted == []
    assert any("text is held nowhere any more: delete it there by hand" in line.sentence for line in worker.timeline)


async def test_a_new_key_that_is_refused_goes_by_its_text() -> None:
    world, provider, worker = await by_text()
    old = await current(world)
    provider.refuses_new = True
    with pytest.raises(RejectedError):
        await rotate(world, worker)
    assert [successor for _, successor in provider.deleted] == [old]
    assert (len(provider.keys), await current(world)) == (1, old)


async def test_a_new_key_that_could_not_be_written_goes_by_its_text() -> None:
    world, provider, worker = await by_text()
    old = await current(world)

    async def refuse(*_: object) -> object:
        raise UnavailableError("the store is sealed")

    staging, world.store.stage = world.store.stage, refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyturnError):
        await rotate(world, worker)
    world.store.stage = staging  # type: ignore[method-assign]
    assert (len(provider.keys), len(provider.deleted), await current(world)) == (1, 1, old)


async def test_a_key_that_was_adopted_without_an_id_goes_by_its_text() -> None:
    """A run died right after it had staged its key: the next one adopts it, and it is refused."""
    world, provider, worker = await by_text()
    provider.refuses_new = True
    turn = await begin(worker, Asked(world.clock.now() + timedelta(seconds=1)))
    created = await provider.create(turn.label)
    await world.store.stage(world.secret, created.material, turn.rotation)
    with pytest.raises(RejectedError):
        await rotate(world, worker)
    assert [gone for gone, _ in provider.deleted] == [created.material.fingerprint()]
    assert UNKNOWN not in Journal.parse(await world.store.annotations(world.secret)).keys.values()


async def test_the_key_in_service_is_never_deleted_by_its_own_login() -> None:
    world, provider, worker = await by_text()
    held = await world.store.current(world.secret)
    with pytest.raises(ConflictError, match="not revoked"):
        await delete(worker, KeyRef("key_1", ""), held.material)
    with pytest.raises(NotFoundError, match="held nowhere"):
        await delete(worker, KeyRef("key_1", ""), None)
    assert provider.accepts(held.material)


def test_the_world_has_none_such_otherwise() -> None:
    assert not hasattr(MemoryProvider(Clock()), "revoke_text")
