"""A provider that cannot tell whether it accepts a key, as Vault's dynamic engines: LiteLLM's answer is the only word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.errors import IndeterminateError, RejectedError, UndecidedError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, Stage, Verdict
from keyturn.testing.world import World
from tests.steps import plain_flows


@dataclass
class Through:
    """LiteLLM's answers. `silent`: it can be asked for no candidate (an old version, say)."""

    world: World
    fleet: str
    silent: bool = False
    shown: list[str] = field(default_factory=list)

    async def preflight(self) -> Sequence[Finding]:
        return []

    async def candidate(self, material: KeyMaterial) -> Judgement:
        self.shown.append(material.fingerprint())
        if self.silent:
            return Judgement(Verdict.INDETERMINATE, "no check, and no candidate can be tried")
        return self.world.provider.try_out(material.fingerprint(), is_use=True)

    async def member(self, member: Member) -> Judgement:
        version = self.world.fleets[self.fleet].loaded[member.name]
        return self.world.provider.try_out(version.fingerprint if version else "", is_use=True)

    async def aclose(self) -> None:
        """Nothing is open."""


async def unchecked(silent: bool = False) -> tuple[World, Assembly]:
    world = await World.make()
    world.provider.capabilities = replace(world.provider.capabilities, can_check=False, can_list=False, shape="leased")
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "Vault cannot tell")
    worker = world.worker()
    worker.canaries = {"local": Through(world, "local", silent)}
    return world, worker


async def rotate(world: World, worker: Assembly) -> Result:
    world.clock.forward(seconds=1)
    return (await plain_flows.rotate(worker, world.clock.now())).result


async def retire(world: World, worker: Assembly) -> Result:
    world.clock.forward(hours=2)
    return (await plain_flows.retire(worker, world.clock.now())).result


async def test_a_key_is_rotated_and_its_successor_sees_it_refused() -> None:
    world, worker = await unchecked()
    for _ in range(2):
        await rotate(world, worker)
        await retire(world, worker)
    current = (await world.store.current(world.secret)).version.fingerprint
    assert world.provider.knows(current)
    assert len(world.provider.revoked) == 1, "the first one was made by hand, and cannot be told from others"
    assert Stage.PREVIOUS not in await world.store.stages(world.secret)
    assert any("the old key is refused" in line.sentence for line in worker.timeline)


async def test_a_key_that_litellm_refuses_is_not_promoted() -> None:
    world, worker = await unchecked()
    world.provider.refuses_new = True
    with pytest.raises(RejectedError):
        await rotate(world, worker)
    assert (await world.store.current(world.secret)).material == world.first_key.material


async def test_a_revoke_that_nobody_can_see_is_settled_by_the_providers_word() -> None:
    world, worker = await unchecked()
    await rotate(world, worker)
    await retire(world, worker)
    worker.canaries = {"local": Through(world, "local")}
    await rotate(world, worker)
    worker.canaries = {"local": Through(world, "local", silent=True)}
    assert await retire(world, worker) is not Result.PENDING
    assert len(world.provider.revoked) == 1
    assert Stage.PREVIOUS not in await world.store.stages(world.secret)


async def test_one_that_is_still_accepted_is_told_as_with_any_provider() -> None:
    world, worker = await unchecked()
    await rotate(world, worker)
    await retire(world, worker)
    await rotate(world, worker)
    held = (await world.store.stages(world.secret))[Stage.PREVIOUS]

    class Lies(Through):
        async def candidate(self, material: KeyMaterial) -> Judgement:
            return Judgement(Verdict.ACCEPTED, "200")

    worker.canaries = {"local": Lies(world, "local")}
    with pytest.raises(IndeterminateError, match="not seen to be refused"):
        await retire(world, worker)
    assert (await world.store.stages(world.secret))[Stage.PREVIOUS] == held


async def test_a_rollback_asks_litellm_whether_the_previous_key_still_works() -> None:
    world, worker = await unchecked()
    await rotate(world, worker)
    previous = (await world.store.stages(world.secret))[Stage.PREVIOUS]
    worker.canaries = {"local": Through(world, "local", silent=True)}
    with pytest.raises(UndecidedError):
        await plain_flows.rollback(worker)
    worker.canaries = {"local": Through(world, "local")}
    world.clock.forward(minutes=1)
    await plain_flows.rollback(worker)
    assert (await world.store.current(world.secret)).version == previous


async def test_a_provider_that_can_check_is_asked_itself() -> None:
    world, worker = await unchecked()
    world.provider.verdict = None
    world.provider.capabilities = replace(world.provider.capabilities, can_check=True, propagation=timedelta(0))
    through = Through(world, "local")
    worker.canaries = {"local": through}
    await worker.judge(world.first_key.material)
    assert through.shown == []
