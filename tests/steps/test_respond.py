"""An incident of one credential: what goes first, what stays, and that whoever comes by finishes what died."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flows.outcome import Outcome, Result
from flows.swept import State
from keyturn.errors import DeniedError, UnavailableError
from keyturn.journal import Journal, Leaked
from keyturn.model import Judgement, KeyRef, Member, Verdict
from keyturn.steps.report_leak import report_leak
from keyturn.testing.world import MemoryCanary, World
from tests.steps.plain_flows import account_of, respond, rotate, sweep
from tests.steps.scene import BLIND, DISABLING, IN_PLACE, POOL, SEASONED, SLOTS, Kind, Scene


async def called(world: World, **how: Any) -> Outcome:
    world.clock.forward(seconds=2)
    return await respond(world.worker(), world.clock.now(), **how)


async def in_service(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


async def journal(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


def order(world: World) -> list[str]:
    """Fingerprints of keys that were deleted, or the word create, in order of time."""
    seen: list[str] = []
    provider = world.provider
    create, revoke, disable = provider.create, provider.revoke, provider.disable

    async def made(label: str, expires_in: timedelta | None = None) -> Any:
        seen.append("create")
        return await create(label, expires_in)

    async def deleted(key: KeyRef) -> None:
        seen.append("revoke")
        await revoke(key)

    async def stopped(key: KeyRef) -> None:
        seen.append("disable")
        await disable(key)

    provider.create, provider.revoke, provider.disable = made, deleted, stopped  # type: ignore[method-assign]
    return seen


# Which goes first.


async def test_prove_first_ends_the_leaked_key_once_every_member_serves_another() -> None:
    world = await World.make()
    seen = order(world)
    outcome = await called(world)
    assert outcome.result is Result.RETIRED and outcome.old_key_refused_at is not None
    assert seen == ["create", "revoke"]
    assert not world.provider.accepts(world.first_key.material)
    assert (await journal(world)).leaked is None


async def test_revoke_first_ends_the_leaked_key_before_another_is_made() -> None:
    world = await World.make()
    seen = order(world)
    before = world.clock.now() + timedelta(seconds=2)
    outcome = await called(world, first=True)
    assert outcome.result is Result.RETIRED and outcome.old_key_refused_at == before
    assert seen[:2] == ["revoke", "create"]
    assert await in_service(world) != world.first_key.material.fingerprint()
    assert (await journal(world)).leaked is None and len(world.provider.keys) == 1


async def test_where_a_key_can_be_disabled_it_is_and_is_deleted_in_the_end() -> None:
    async with Scene.of("disabling", DISABLING) as scene:
        seen = order(scene.world)
        outcome = await called(scene.world, first=True)
        assert outcome.result is Result.RETIRED
        assert seen == ["disable", "create", "revoke"]


@pytest.mark.parametrize(
    ("kind", "why"), [(SLOTS, "two keys"), (POOL, "of a pool"), (IN_PLACE, "in place"), (BLIND, "")], ids=str
)
async def test_where_it_cannot_go_first_it_is_said_and_it_goes_when_it_is_proved(kind: Kind, why: str) -> None:
    async with Scene.of("cannot", kind) as scene:
        world = scene.world
        leaked = (await world.store.current(world.secret)).material
        outcome = await called(world, first=True)
        assert outcome.result is Result.RETIRED, outcome
        assert why in outcome.sentence
        assert not world.provider.accepts(leaked)


async def test_that_it_cannot_be_revoked_first_keeps_no_successor_waiting() -> None:
    world = await World.make()
    world.provider.fail["revoke"] = DeniedError("may not delete")
    outcome = await called(world, first=True)
    assert outcome.result is Result.PENDING and "could not be revoked first: may not delete" in outcome.sentence
    assert await in_service(world) != world.first_key.material.fingerprint()


async def test_that_it_was_refused_is_in_the_account_also_where_no_successor_could_be_made() -> None:
    world = await World.make()
    world.provider.fail["create"] = DeniedError("may not create")
    world.clock.forward(seconds=2)
    outcome, account = await account_of(world.worker(), world.clock.now(), first=True)
    assert outcome.result is Result.STOPPED and outcome.old_key_refused_at is None, "that is no good end"
    assert account.refused_at is not None and not account.is_over


# A thief uses the key.


async def test_that_a_leaked_key_is_used_is_no_reason_to_keep_it() -> None:
    world = await World.make()
    report = world.provider.last_used

    async def just_used(key: KeyRef) -> datetime | None:
        world.clock.forward(seconds=10)
        world.provider.used(key.id)
        return await report(key)

    world.provider.last_used = just_used  # type: ignore[method-assign]
    assert (await called(world)).result is Result.RETIRED
    assert not world.provider.accepts(world.first_key.material)


async def test_a_member_that_serves_the_leaked_key_keeps_it_where_the_proof_comes_first() -> None:
    world = await World.make()
    world.fleet.bad.add("two")
    outcome = await called(world)
    assert outcome.result is Result.UNFINISHED
    assert world.provider.accepts(world.first_key.material)
    world.fleet.bad.clear()
    world.clock.forward(minutes=10)
    await sweep(world.worker())
    assert not world.provider.accepts(world.first_key.material), "no overlap was waited for"


# An old key has leaked.


async def test_a_leak_of_the_old_key_ends_that_one_and_rotates_nothing() -> None:
    world = await World.make()
    await rotate(world.worker(), world.clock.now())
    now = await in_service(world)
    for first in (False, True):
        outcome = await called(world, first=first, fingerprint=world.first_key.material.fingerprint())
        if not first:
            assert outcome.result is Result.RETIRED
    assert await in_service(world) == now and world.provider.made == 2
    assert not world.provider.accepts(world.first_key.material)


async def test_an_old_key_can_go_although_a_member_still_serves_it() -> None:
    world = await World.make()
    await rotate(world.worker(), world.clock.now())
    world.fleet.loaded["one"] = None
    fingerprint = world.first_key.material.fingerprint()
    assert (await called(world, fingerprint=fingerprint)).result is Result.PENDING
    assert world.provider.accepts(world.first_key.material)
    outcome = await called(world, first=True, fingerprint=fingerprint)
    assert not world.provider.accepts(world.first_key.material)
    assert outcome.old_key_refused_at is not None


async def test_an_old_key_does_not_go_first_where_that_cannot_be_noted() -> None:
    """There is one note of a leak, and the key in service has it: who comes by would not know why another is refused."""
    world = await World.make()
    await rotate(world.worker(), world.clock.now())
    world.fleet.loaded["one"] = None
    world.clock.forward(seconds=2)
    await report_leak(world.worker(), await in_service(world), world.clock.now(), first=False)
    outcome = await called(world, first=True, fingerprint=world.first_key.material.fingerprint())
    assert world.provider.accepts(world.first_key.material)
    assert "not revoked first" in outcome.sentence


async def test_who_is_cancelled_asks_nobody_anything_more() -> None:
    async with Scene.of("cancelled", SEASONED) as scene:
        actor = scene.actor("R")
        actor.start(scene.respond(actor, first=True))
        assert await actor.until(calls=8)
        over, _ = await asyncio.wait({asyncio.ensure_future(actor.bury())}, timeout=5)
        assert over


async def test_an_old_key_that_cannot_go_yet_is_not_given_its_overlap() -> None:
    world = await World.make()
    await rotate(world.worker(), world.clock.now())
    serves, world.fleet.loaded["one"] = world.fleet.loaded["one"], None
    await called(world, fingerprint=world.first_key.material.fingerprint())
    world.fleet.loaded["one"] = serves
    world.clock.forward(minutes=10)  # of an hour
    assert (await sweep(world.worker())).state is State.DONE
    assert not world.provider.accepts(world.first_key.material)


async def test_a_fingerprint_that_nobody_knows_changes_nothing() -> None:
    world = await World.make()
    outcome = await called(world, fingerprint="0123456789abcdef")
    assert outcome.result is Result.STOPPED and "no key of this fingerprint" in outcome.sentence
    assert world.provider.made == 1 and (await journal(world)).leaked is None


async def test_the_fingerprint_of_the_key_in_service_replaces_it() -> None:
    world = await World.make()
    assert (await called(world, fingerprint=world.first_key.material.fingerprint())).result is Result.RETIRED
    assert not world.provider.accepts(world.first_key.material)


# Again, and again.


@pytest.mark.parametrize("first", [False, True], ids=["prove_first", "revoke_first"])
async def test_the_same_call_again_makes_no_second_key(first: bool) -> None:
    world = await World.make()
    world.clock.forward(seconds=1)
    at = world.clock.now()
    for _ in range(3):
        world.clock.forward(minutes=1)
        outcome = await respond(world.worker(), at, first=first)
        assert outcome.result is Result.RETIRED and outcome.old_key_refused_at is not None
    assert world.provider.made == 2 and len(world.provider.keys) == 1


async def test_a_parked_credential_whose_key_was_revoked_first_is_not_left_without_one() -> None:
    world = await World.make()
    world.provider.fail["create"] = UnavailableError("down")
    await called(world, first=True)
    for _ in range(8):
        world.clock.forward(minutes=10)
        await sweep(world.worker())
    assert (await journal(world)).parked
    world.provider.fail.clear()
    world.clock.forward(minutes=10)
    assert (await sweep(world.worker())).state is State.DONE
    assert await in_service(world) != world.first_key.material.fingerprint()


@dataclass
class Fading(MemoryCanary):
    """Members that answer so many calls, and then none."""

    answers: int = 0

    async def member(self, member: Member) -> Judgement:
        self.answers -= 1
        if self.answers < 0:
            return Judgement(Verdict.INDETERMINATE, "it does not answer")
        return await super().member(member)


async def test_a_key_that_was_disabled_for_a_leak_is_never_enabled_again() -> None:
    async with Scene.of("disabling", DISABLING) as scene:
        world = scene.world
        world.provider.fail["revoke"] = UnavailableError("down")
        await called(world, first=True)
        world.provider.fail.clear()
        enabled: list[KeyRef] = []

        async def enable(key: KeyRef) -> None:
            enabled.append(key)

        world.provider.enable = enable  # type: ignore[method-assign]
        world.clock.forward(minutes=10)
        for answers in range(5):  # of two members, who are asked for the evidence, and might be once more
            canary = Fading(world.provider, world.fleet, answers)
            await sweep(replace(world.worker(), canaries={"local": canary}))
            world.clock.forward(hours=7)
            assert not world.provider.accepts(world.first_key.material) and not enabled
        assert world.first_key.ref.id in world.provider.revoked


def test_a_note_of_a_leak_reads_back() -> None:
    at = datetime.fromisoformat("2026-03-02T03:00:00+00:00")
    for each in (Leaked(at, True, "0123456789abcdef", "key_1"), Leaked(at, False, "0123456789abcdef")):
        assert Leaked.parse(str(each)) == each
    assert Leaked.parse(str(Leaked(at, True, "0123456789abcdef", "k" * 200))) == Leaked(at, True, "0123456789abcdef")
    assert Leaked.parse("") is None and Leaked.parse("nonsense") is None
