"""What waits for no other: two calls of which each is answered once the other has begun. Made in turn, they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from keyturn.canary import LiteLLMCanary
from keyturn.model import Judgement, KeyRef, Member
from keyturn.providers.openai import OpenAI
from keyturn.references import resolver
from keyturn.steps.prove import prove
from keyturn.testing.world import MemoryCanary, MemoryProvider, World
from tests.canary.fake_litellm import FakeLiteLLM, always
from tests.steps.plain_flows import rotate

PATIENCE = 5  # seconds, which only a call that waits in vain takes


class Together:
    """Whoever comes is let go when as many as `number` are there."""

    def __init__(self, number: int) -> None:
        self._barrier = asyncio.Barrier(number)
        self.met = 0

    async def __call__(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._barrier.wait()
        self.met += 1


async def test_the_provider_is_asked_for_the_last_use_while_the_members_are_asked() -> None:
    world = await World.make()
    await rotate(world.worker(), world.clock.now(), overlap=world.settings.overlap)
    together, worker = Together(3), world.worker()

    class Provider(MemoryProvider):
        async def last_used(self, key: KeyRef) -> datetime | None:
            await together()
            return await super().last_used(key)

    class Canary(MemoryCanary):
        async def member(self, member: Member) -> Judgement:
            await together()
            return await super().member(member)

    worker.provider = Provider(**vars(world.provider))
    worker.canaries = {name: Canary(world.provider, fleet) for name, fleet in world.fleets.items()}
    (evidence,) = await prove(worker, world.settings.overlap)
    assert together.met == 3
    assert len(evidence.members) == 2
    assert evidence.idle


async def test_preflight_tries_the_key_in_service_and_a_garbage_key_at_once() -> None:
    proxy, together = FakeLiteLLM(), Together(2)

    async def master_key() -> Any:
        return proxy.master_key

    canary = LiteLLMCanary(
        members=always(proxy.member("one")),
        master_key=master_key,
        model="gpt",
        deployment=None,
        check=None,
        timeout=timedelta(days=1),
        transport=proxy.transport,
    )
    canary._calls.ask = _after(together, canary._calls.ask)  # type: ignore[method-assign,assignment]
    findings = await canary.preflight()
    await canary.aclose()
    assert together.met == 2
    assert {finding.what: finding.ok for finding in findings}["one: a garbage key is refused"]
    assert all(finding.ok for finding in findings)


async def test_openai_is_asked_for_the_project_and_the_account_at_once() -> None:
    given = {"admin_key": "env:ADMIN", "project": "proj_one", "service_account": "svc_one", "base_url": "http://127.0.0.1:1"}
    openai = OpenAI(OpenAI.Settings.model_validate(given), resolver(environ={}))
    together = Together(2)

    async def read(path: str, *_: Any) -> dict[str, Any]:
        if path != "/api_keys":
            await together()
        return {}

    openai._read = read  # type: ignore[method-assign,assignment]
    findings = await openai.preflight()
    await openai.aclose()
    assert together.met == 2
    looked = [finding.what for finding in findings if finding.ok]
    assert looked[-2:] == ["project proj_one is live", "service account svc_one belongs to the project"]


def _after(first: Callable[[], Awaitable[None]], then: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def both(*given: Any) -> Any:
        await first()
        return await then(*given)

    return both
