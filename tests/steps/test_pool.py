"""A pool of keys that people make ahead: who is given which, what waits for a person, and how that ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flows.outcome import Result
from flows.swept import State
from keyturn.assembly import Assembly
from keyturn.errors import ByHandError, KeyturnError, NotFoundError
from keyturn.journal import Journal
from keyturn.lifecycle import Reason
from keyturn.model import Mark, Stage
from keyturn.steps.pool_fill import fill
from keyturn.steps.preflight import examine
from keyturn.steps.revoke import settle
from keyturn.testing.explorer import Actor
from keyturn.testing.memory_pool import POOL, MemoryPool
from keyturn.testing.world import World, new_key
from tests.steps import plain_flows


@asynccontextmanager
async def worlds(*, by_hand: bool = False) -> AsyncIterator[tuple[World, MemoryPool]]:
    world = await World.make(provider_of=MemoryPool)
    provider = world.provider
    assert isinstance(provider, MemoryPool)
    provider.can_end = not by_hand
    world.clock.forward(hours=1)
    yield world, provider


async def journal_of(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def rotate(world: World, reason: Reason = Reason.MANUAL) -> Any:
    return await plain_flows.rotate(world.worker(), world.clock.now(), reason)


async def free(provider: MemoryPool) -> int:
    return sum(entry.is_free for entry in await provider.entries())


async def test_a_rotation_takes_the_next_key_and_the_old_one_of_a_person_is_ended() -> None:
    async with worlds() as (world, provider):
        before = await free(provider)
        assert (await rotate(world)).result is Result.ROTATED
        assert await free(provider) == before - 1
        world.clock.forward(hours=2)
        assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED
        assert world.first_key.ref.id not in provider.keys
        assert (await rotate(world)).result is Result.ROTATED
        world.clock.forward(hours=2)
        assert (await plain_flows.retire(world.worker(), world.clock.now())).result is Result.RETIRED
        states = [(entry.key is None, entry.is_free) for entry in await provider.entries()]
        assert states[:3] == [(True, False), (False, False), (False, True)]


async def test_two_credentials_of_one_pool_never_share_a_key() -> None:
    """They race: each is held before every call that it makes, while the other takes its key."""
    for number in range(120):
        async with worlds() as (world, provider):
            one, two = Actor("one"), Actor("two")
            mark = Mark.of("other", "memory")
            label = {"one": world.worker().mark.label(mark.rotation("a" * 12)), "two": mark.label(mark.rotation("b" * 12))}
            over = {actor.name: actor.over(world.worker()).provider for actor in (one, two)}
            one.start(over["one"].take(label["one"], ()))  # type: ignore[attr-defined]
            went_on = await one.until(calls=number)
            second = await two.run(over["two"].take(label["two"], ()))  # type: ignore[attr-defined]
            first = await one.end()
            await one.bury()
            await two.bury()
            assert first.ref.fingerprint != second.ref.fingerprint
            taken = [entry.key.name for entry in await provider.entries() if entry.key and entry.key.name]
            assert sorted(taken) == sorted(label.values())
        if not went_on:
            return
    pytest.fail("taking a key takes more calls than were tried")


async def test_two_installations_whose_only_key_is_one_race_for_it_and_one_is_told_that_it_is_empty() -> None:
    async with worlds() as (world, provider):
        while await free(provider) > 1:
            await provider.take(world.worker().mark.label(world.worker().mark.rotation(f"{await free(provider):012x}")), ())
        one, two = Actor("one"), Actor("two")
        over = {actor.name: actor.over(world.worker()).provider for actor in (one, two)}
        one.start(over["one"].take("keyturn-one", ()))  # type: ignore[attr-defined]
        await one.until(before="pool.promote")
        await two.run(over["two"].take("keyturn-two", ()))  # type: ignore[attr-defined]
        assert isinstance(await one.end(), NotFoundError)


async def test_an_empty_pool_stops_a_rotation_before_anything_is_done() -> None:
    async with worlds() as (world, provider):
        for number in range(await free(provider)):
            await provider.take(f"keyturn-other-{number}", ())
        with pytest.raises(KeyturnError, match="keyturn pool add openai-prod"):
            await rotate(world)
        assert set(await world.store.stages(world.secret)) == {Stage.CURRENT}
        assert any(finding.ok is False and "pool" in finding.what for finding in await examine(world.worker()))


async def test_the_last_key_that_was_taken_by_a_run_that_died_is_what_the_next_run_goes_on_with() -> None:
    async with worlds() as (world, provider):
        for number in range(await free(provider) - 1):
            await provider.take(f"keyturn-other-{number}", ())
        actor = Actor("A")
        actor.start(plain_flows.rotate(actor.over(world.worker()), world.clock.now()))
        await actor.until(before="store memory.stage")
        await actor.bury()
        assert await free(provider) == 0
        assert (await rotate(world)).result is Result.ROTATED


async def test_a_key_that_a_person_has_put_into_service_is_not_taken_again() -> None:
    async with worlds() as (world, provider):
        rows = await provider.ledger.rows()
        assert rows[0].key is not None
        world.change_by_hand(rows[0].key.material)
        await world.fleet.start()
        assert (await rotate(world)).result is Result.ROTATED
        current = (await world.store.current(world.secret)).version
        assert current.fingerprint != rows[0].key.version.fingerprint


async def test_a_key_that_the_provider_refuses_does_not_come_back() -> None:
    """One of the pool has died: it is not given to the next run, which takes the next one."""
    async with worlds() as (world, provider):
        rows = await provider.ledger.rows()
        dead = rows[0].key
        assert dead is not None
        provider.dud |= {id for id, (_, key) in provider.keys.items() if key == dead.material}
        with pytest.raises(KeyturnError, match="refuses the new key"):
            await rotate(world)
        assert (await provider.entries())[0].key is None
        assert (await rotate(world)).result is Result.ROTATED


async def test_a_stray_goes_back_into_the_pool_and_nobody_comes_with_it() -> None:
    """A run that was stalled with the key wakes up after the sweep: its rotation's place is taken."""
    async with worlds() as (world, provider):
        actor = Actor("A")
        actor.start(plain_flows.rotate(actor.over(world.worker()), world.clock.now()))
        await actor.until(before="store memory.stage")
        before = await free(provider)
        world.clock.forward(hours=3)
        swept = await plain_flows.sweep(world.worker())
        assert (len(swept.strays), await free(provider)) == (1, before + 1)
        await actor.end()
        current = (await world.store.current(world.secret)).version
        assert current.fingerprint not in {
            entry.key.fingerprint for entry in await provider.entries() if entry.is_free and entry.key
        }
        taken = [entry for entry in await provider.entries() if entry.key and entry.key.name]
        assert len(taken) <= 1


# By hand ----------------------------------------------------------------------------------------------------------------


async def waiting(world: World) -> Any:
    """A rotation whose old key a person has to delete, after its overlap."""
    assert (await rotate(world)).result is Result.ROTATED
    world.clock.forward(hours=2)
    outcome = await plain_flows.retire(world.worker(), world.clock.now())
    assert (outcome.result, outcome.by_hand) == (Result.PENDING, True)
    return outcome


async def test_what_only_a_person_can_delete_waits_and_is_no_failure() -> None:
    async with worlds(by_hand=True) as (world, provider):
        outcome = await waiting(world)
        assert "keyturn pool retired openai-prod" in outcome.sentence
        for _ in range(8):
            world.clock.forward(minutes=10)
            swept = await plain_flows.sweep(world.worker())
            assert (swept.state, swept.is_well) == (State.BY_HAND, False)
        journal = await journal_of(world)
        assert (journal.failures, journal.parked) == (0, "")
        assert provider.accepts(world.first_key.material)


async def test_while_it_waits_no_member_is_asked_and_the_old_key_cannot_come_back() -> None:
    """Each call of a canary costs something; and a person may delete the key at any moment."""
    async with worlds(by_hand=True) as (world, _):
        await waiting(world)
        actor = Actor("sweep")
        await actor.run(plain_flows.retire(actor.over(world.worker()), world.clock.now()))
        assert not [call for call in actor.calls if call.startswith("canary")]
        with pytest.raises(KeyturnError):
            await plain_flows.rollback(world.worker())
        assert (await world.store.current(world.secret)).material != world.first_key.material


async def test_the_sweep_ends_it_by_itself_once_the_key_is_refused() -> None:
    async with worlds(by_hand=True) as (world, provider):
        await waiting(world)
        del provider.keys[world.first_key.ref.id]
        swept = await plain_flows.sweep(world.worker())
        assert swept.state is State.DONE
        journal = await journal_of(world)
        assert set(journal.keys) == {journal.current_fingerprint}
        assert not journal.by_hand
        assert set(await world.store.stages(world.secret)) == {Stage.CURRENT}


async def test_a_key_of_the_pool_is_looked_for_in_its_place_and_the_place_is_empty_afterwards() -> None:
    async with worlds(by_hand=True) as (world, provider):
        await waiting(world)
        del provider.keys[world.first_key.ref.id]
        await plain_flows.sweep(world.worker())
        second = (await world.store.current(world.secret)).version
        await waiting(world)
        (id,) = [id for id, (_, key) in provider.keys.items() if key.fingerprint() == second.fingerprint]
        del provider.keys[id]
        done = await settle(world.worker(), f"pool-{second.fingerprint}")
        assert done.refused_at is not None
        assert (await provider.entries())[0].key is None


async def test_a_person_who_says_so_too_early_is_told_and_nothing_is_forgotten() -> None:
    async with worlds(by_hand=True) as (world, provider):
        await waiting(world)
        fingerprint = world.first_key.material.fingerprint()
        with pytest.raises(ByHandError, match="not deleted") as raised:
            await settle(world.worker(), fingerprint)
        text = world.first_key.material.reveal()
        assert text[-4:] in str(raised.value) and text[-5:] not in str(raised.value)
        assert fingerprint in (await journal_of(world)).keys
        del provider.keys[world.first_key.ref.id]
        await settle(world.worker(), fingerprint)
        assert fingerprint not in (await journal_of(world)).keys
        with pytest.raises(NotFoundError):
            await settle(world.worker(), fingerprint)


async def test_one_whose_text_is_held_nowhere_is_believed_only_where_that_is_said() -> None:
    """An incident has replaced the key once more: of the first one, made by hand, only the note is left."""
    async with worlds(by_hand=True) as (world, provider):
        await waiting(world)
        world.clock.forward(hours=2)
        outcome = await rotate(world, Reason.INCIDENT)
        assert outcome.result is Result.PENDING
        fingerprint = world.first_key.material.fingerprint()
        assert fingerprint in (await journal_of(world)).keys
        del provider.keys[world.first_key.ref.id]
        with pytest.raises(ByHandError, match="held nowhere"):
            await settle(world.worker(), fingerprint)
        await settle(world.worker(), fingerprint, unchecked=True)
        assert fingerprint not in (await journal_of(world)).keys


async def test_a_free_key_that_a_person_has_deleted_leaves_the_pool() -> None:
    async with worlds(by_hand=True) as (world, provider):
        entry = (await provider.entries())[0]
        assert entry.key is not None
        with pytest.raises(ByHandError):
            await settle(world.worker(), entry.place)
        id = next(id for id, (_, key) in provider.keys.items() if key.fingerprint() == entry.key.fingerprint)
        del provider.keys[id]
        await settle(world.worker(), entry.place)
        assert (await provider.entries())[0].key is None


# Filling ----------------------------------------------------------------------------------------------------------------


async def test_each_key_is_tried_and_what_is_wrong_with_one_keeps_no_other_out() -> None:
    async with worlds() as (world, provider):
        good, dead = new_key(), new_key()
        provider.add(good, "made for the pool")
        held = next(row.key.material for row in await provider.ledger.rows() if row.key)
        given = [dead, held, world.first_key.material, good]
        done = await fill(world.worker(), given, {world.first_key.material.fingerprint()})
        assert [bool(each.place) for each in done] == [False, False, False, True]
        assert [word in each.sentence for word, each in zip(("refused", "already", "in use"), done, strict=False)] == [
            True
        ] * 3
        assert "refused" in done[0].sentence


async def test_a_key_is_not_taken_in_where_nobody_could_tell_whether_it_works() -> None:
    async with worlds() as (world, provider):

        class Undecided:
            async def candidate(self, _: Any) -> Any:
                from keyturn.model import Judgement, Verdict

                return Judgement(Verdict.INDETERMINATE, "a proxy is down")

        good = provider.add(new_key(), "made for the pool").material
        worker: Assembly = replace(world.worker(), canaries={"local": Undecided()})  # type: ignore[dict-item]
        (done,) = await fill(worker, [good], ())
        assert (done.place, "not known to work" in done.sentence) == ("", True)


async def test_a_full_pool_is_told_key_by_key() -> None:
    async with worlds() as (world, provider):
        keys = [provider.add(new_key(), "made for the pool").material for _ in POOL]
        done = await fill(world.worker(), keys, (), world.clock.now() + timedelta(days=90))
        assert sum(bool(each.place) for each in done) == len(POOL) - 6
        assert "taken" in done[-1].sentence
