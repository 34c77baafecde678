"""A whole rotation of proxies whose keys are in LiteLLM's database, with the canary that asks each: in memory, one clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from keyturn.assembly import Assembly
from keyturn.canary import LiteLLMCanary
from keyturn.errors import EvidenceMissingError, RollFailedError
from keyturn.fleets.litellm_credentials import LiteLLMCredentials
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Stage, Verdict
from keyturn.steps.prove import prove
from keyturn.testing.litellm_credentials import LiteLLMDatabase, Proxy
from keyturn.testing.world import World, new_key
from tests.steps import plain_flows


class Accepted(set[str]):
    """The fingerprints that the world's provider accepts, as they are when they are asked for."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __contains__(self, fingerprint: object) -> bool:
        return self.world.provider.try_out(str(fingerprint), is_use=True).verdict is Verdict.ACCEPTED


class Scene:
    def __init__(self, world: World) -> None:
        self.world, self.master = world, new_key()
        self.litellm = LiteLLMDatabase(self.master, {"one": Proxy(), "two": Proxy()}, live=Accepted(world))
        self.litellm.deployments = {"gpt-1": "openai-prod"}
        values = {"api_key": world.first_key.material.reveal()}
        body = {"credential_name": "openai-prod", "credential_values": values, "credential_info": {}}
        self.litellm._create(self.litellm.proxies["one"], body)
        self.litellm.read_table(self.litellm.proxies["two"])

    async def pause(self, seconds: float) -> None:
        await self.world.clock.pause(seconds)
        self.litellm.pass_time(seconds)

    def worker(self) -> Assembly:
        """A process that knows nothing but the world."""

        async def master_key(*_: str) -> KeyMaterial:
            return self.master

        async def held(_: str) -> Mapping[Stage, HeldKey]:
            store, secret = self.world.store, self.world.secret
            stages = await store.stages(secret)
            return {stage: HeldKey(version, await store.read(secret, version)) for stage, version in stages.items()}

        settings = LiteLLMCredentials.Settings(members=("http://one", "http://two"), master_key="env:MASTER")
        now, transport = self.world.clock.now, self.litellm.transport
        fleet = LiteLLMCredentials(settings, master_key, held, lambda _: (), now, self.pause, transport)
        check = self.world.provider.check
        seconds = timedelta(seconds=10)
        canary = LiteLLMCanary(fleet.members, master_key, "gpt", None, check, seconds, transport=transport)
        c = self.world.worker()
        c.fleets, c.canaries, c.pause = {"local": fleet}, {"local": canary}, self.pause
        return c

    def served(self) -> list[str]:
        """The fingerprint of what each proxy would send now."""
        memories = [proxy.workers[0]["openai-prod"]["credential_values"] for proxy in self.litellm.proxies.values()]
        return [KeyMaterial(values["api_key"]).fingerprint() for values in memories]

    async def current(self) -> str:
        return (await self.world.store.current(self.world.secret)).version.fingerprint


@pytest.fixture
async def scene() -> Scene:
    return Scene(await World.make())


async def test_a_rotation_and_the_end_of_the_old_key(scene: Scene) -> None:
    await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    assert scene.served() == [await scene.current()] * 2
    assert len(scene.litellm.patches) == 1
    assert scene.world.provider.accepts(scene.world.first_key.material), "the overlap has begun"
    await scene.pause(3601)
    await plain_flows.retire(scene.worker(), scene.world.clock.now())
    assert not scene.world.provider.accepts(scene.world.first_key.material)
    assert len(scene.world.provider.keys) == 1


async def test_where_one_does_not_take_it_over_the_old_key_is_served_again(scene: Scene) -> None:
    scene.litellm.proxies["two"].reads_every = None
    with pytest.raises(RollFailedError):
        await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    old = scene.world.first_key.material
    assert scene.served() == [await scene.current()] * 2 == [old.fingerprint()] * 2
    await scene.pause(7200)
    with pytest.raises(EvidenceMissingError):  # the second one has not said so
        await prove(scene.worker(), timedelta(hours=1))
    assert scene.world.provider.accepts(old)

    scene.litellm.proxies["two"].reads_every = 30
    await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    assert scene.served() == [await scene.current()] * 2
    assert await scene.current() != old.fingerprint()
