"""A key is disabled and watched before it is deleted, where its provider can: the last moment at which it can come back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, EvidenceMissingError, IndeterminateError, UnavailableError
from keyturn.evidence import Evidence
from keyturn.lifecycle import Reason
from keyturn.model import Judgement, KeyRef, Member, Verdict
from keyturn.steps.revoke import _revoke_one, revoke
from keyturn.testing.world import MemoryCanary, World
from tests.steps import plain_flows


async def rotated() -> tuple[World, Assembly]:
    """The overlap is over; the old key is to go."""
    world = await World.make()
    world.provider.capabilities = replace(world.provider.capabilities, can_disable=True)
    await plain_flows.rotate(world.worker(), world.clock.now(), Reason.MANUAL)
    world.clock.forward(hours=2)
    return world, world.worker()


@dataclass
class Leaning(MemoryCanary):
    """A member that answers only as long as this other key is accepted: a fallback, or an alias that shadows ours."""

    leans_on: str = ""

    async def member(self, member: Member) -> Judgement:
        if not self.provider.knows(self.leans_on):
            return Judgement(Verdict.INDETERMINATE, "it does not answer")
        return await super().member(member)


async def test_the_old_key_is_disabled_watched_and_then_deleted() -> None:
    world, worker = await rotated()
    done = await revoke(worker)
    said = [line.sentence.split(":")[0] for line in worker.timeline if line.step == "revoke"]
    old = world.first_key.ref.id
    assert said == [
        f"disabled {old}",
        "the old key is not accepted while it is disabled",
        f"deleted {old}",
        "the old key is refused",
    ]
    assert done.refused_at is not None and old in world.provider.revoked


async def test_a_member_that_needs_it_after_all_is_found_out_and_nothing_is_deleted() -> None:
    world, worker = await rotated()
    old = world.first_key
    leaning = Leaning(world.provider, world.fleet, old.material.fingerprint())
    with pytest.raises(EvidenceMissingError, match="does not answer"):
        await revoke(replace(worker, canaries={"local": leaning}))
    assert world.provider.accepts(old.material), "it is enabled again"
    assert old.ref.id not in world.provider.revoked
    await revoke(world.worker())
    assert old.ref.id in world.provider.revoked


async def test_a_key_that_was_left_disabled_and_is_put_back_by_hand_is_enabled() -> None:
    world, worker = await rotated()
    old = world.first_key
    await world.provider.disable(KeyRef(old.ref.id, ""))  # a run died here
    world.change_by_hand(old.material)
    with pytest.raises(ConflictError, match="not revoked"):
        await _revoke_one(worker, old.material.fingerprint(), old.ref.id, Evidence(), None)
    assert world.provider.accepts(old.material)


async def test_a_provider_that_accepts_a_disabled_key_is_not_believed_to_have_disabled_it() -> None:
    world, worker = await rotated()
    world.provider.disable = lambda key: _nothing(key)  # type: ignore[method-assign]
    with pytest.raises(IndeterminateError, match="still accepted"):
        await revoke(worker)
    assert world.first_key.ref.id not in world.provider.revoked


async def test_that_it_cannot_be_enabled_again_is_told_beside_what_failed() -> None:
    world, worker = await rotated()
    world.provider.fail["enable"] = UnavailableError("the provider is down")
    leaning = Leaning(world.provider, world.fleet, world.first_key.material.fingerprint())
    with pytest.raises(EvidenceMissingError):
        await revoke(replace(worker, canaries={"local": leaning}))
    assert any("may still be disabled" in line.sentence for line in worker.timeline)


async def test_a_key_that_is_gone_already_needs_no_disabling() -> None:
    world, worker = await rotated()
    await world.provider.revoke(world.first_key.ref)
    done = await revoke(worker)
    assert done.refused_at is not None


async def _nothing(key: KeyRef) -> None:
    return None
