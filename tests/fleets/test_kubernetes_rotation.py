"""Whole rotations over a fleet on the double: the flows, the store `kubernetes_secret`, pods that load what it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from flows.outcome import Outcome, Result
from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, PermanentError, RolledBackError, RollFailedError, UnavailableError
from keyturn.fleets.kubernetes import KubernetesFleet
from keyturn.journal import Journal
from keyturn.lifecycle import Reason
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Mark, Member, SecretRef, Verdict
from keyturn.ports import Replacing
from keyturn.references import resolver
from keyturn.settings import CredentialSettings
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import Kind
from keyturn.testing.world import Clock, MemoryProvider
from tests.fleets.kubernetes_scene import CREDENTIAL, KEYS, SPACE, VARIABLE, Scene, deployment, scene
from tests.steps import plain_flows


@dataclass
class PodCanary:
    """Asks the provider with what the pod's container has really loaded. `refused`: pods whose calls it refuses."""

    scene: Scene
    provider: MemoryProvider
    refuses: set[str]

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("canary", True)]

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return await self.provider.check(material)

    async def member(self, member: Member) -> Judgement:
        loaded = self.scene.loaded.get(member.name.removeprefix("pod "), "")
        if loaded in self.refuses:
            return Judgement(Verdict.REJECTED, "the provider refuses what it serves")
        return self.provider.try_out(loaded, is_use=True)

    async def aclose(self) -> None:
        """Nothing is open."""


class World:
    """A credential whose Secret and whose proxies are in one cluster."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.clock = scene, Clock()
        self.provider = MemoryProvider(self.clock)
        self.provider.add(scene.key, "made by hand")
        self.secret = SecretRef("cluster", KEYS, VARIABLE)
        settings = {"server": scene.double.url, "token": "env:TOKEN", "namespace": SPACE}
        resolve = resolver(environ={"TOKEN": scene.double.admin_token})
        self.store = KubernetesSecret(KubernetesSecret.Settings.model_validate(settings), resolve)
        self.refuses: set[str] = set()

    def worker(self) -> Assembly:
        made = self.scene.fleet()
        address = {"store": self.secret.store, "path": self.secret.path, "field": self.secret.field}
        settings = {
            "provider": "openai",
            "secrets": [address],
            "canary": {"proxy": "prod", "model": "gpt"},
            "proxies": ["prod"],
            "overlap": "1h",
        }
        return Assembly(
            name=CREDENTIAL,
            settings=CredentialSettings.model_validate(settings),
            mark=Mark.of(CREDENTIAL, "cluster"),
            provider=self.provider,
            secrets=((self.secret, self.store),),
            fleets={"prod": made},
            canaries={"prod": PodCanary(self.scene, self.provider, self.refuses)},
            now=self.clock.now,
            pause=self.clock.pause,
        )

    async def rotate(self, reason: Reason = Reason.MANUAL) -> Outcome:
        self.clock.forward(seconds=2)
        return await plain_flows.rotate(self.worker(), self.clock.now(), reason)

    async def current(self) -> str:
        return (await self.store.current(self.secret)).version.fingerprint

    def served(self) -> set[str]:
        """By what the containers of all pods have loaded."""
        return {self.scene.loaded[name] for name in self.scene.names()}

    async def journal(self) -> Journal:
        return Journal.parse(await self.store.annotations(self.secret))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    # Available a while after it is ready: time for the canary, before a pod that serves has gone.
    async with scene([deployment(minReadySeconds=10)]) as found:
        found.turn(10)
        made = World(found)
        with plain_flows.plainly():
            yield made
        await made.store.aclose()


def test_the_fleet_is_one_whose_platform_replaces_its_members() -> None:
    assert issubclass(KubernetesFleet, Replacing)


async def test_a_rotation_rolls_proves_and_retires() -> None:
    async with world() as w:
        outcome = await w.rotate()
        assert outcome.result is Result.ROTATED
        new = await w.current()
        assert w.served() == {new} != {w.scene.key.fingerprint()}
        assert w.scene.read()["metadata"]["generation"] == 2 and len(w.scene.uids) == 4
        w.clock.forward(hours=2)
        assert (await plain_flows.retire(w.worker(), w.clock.now())).result is Result.RETIRED
        assert not w.provider.accepts(w.scene.key)
        assert w.served() == {new} and len(w.scene.uids) == 4


async def test_a_second_run_finds_nothing_to_do() -> None:
    async with world() as w:
        await w.rotate()
        asked = w.clock.now()
        assert (await plain_flows.rotate(w.worker(), asked)).result is Result.NOTHING
        assert len(w.scene.uids) == 4


async def test_a_key_with_which_no_pod_starts_is_taken_back_and_the_old_pods_served_on() -> None:
    async with world() as w:
        before, first = w.scene.names(), w.scene.key.fingerprint()
        served: list[set[str]] = []
        w.scene.meanwhile = lambda: served.append(w.served())
        w.scene.refused = _All(first)
        with pytest.raises(RolledBackError):
            await w.rotate()
        assert await w.current() == first and w.served() == {first}
        assert not w.scene.names() & before, "nothing of the roll that failed is left"
        assert all(first in each for each in served)
        assert w.provider.accepts(w.scene.key)


class _All(set[str]):
    """Every key but this one."""

    def __init__(self, but: str) -> None:
        super().__init__()
        self._but = but

    def __contains__(self, value: object) -> bool:
        return value != self._but


async def test_a_key_that_the_provider_refuses_in_the_pods_goes_no_further_than_the_first() -> None:
    async with world() as w:
        first = w.scene.key.fingerprint()
        w.refuses = _All(first)
        most = 0

        def count() -> None:
            nonlocal most
            most = max(most, len([name for name in w.scene.names() if w.scene.loaded.get(name) != first]))

        w.scene.meanwhile = count
        with pytest.raises(RolledBackError):
            await w.rotate()
        assert most <= 1, "one pod at a time was of the key that is refused"
        assert await w.current() == first and w.served() == {first}


async def test_an_incident_does_not_go_back_and_keeps_what_serves() -> None:
    async with world() as w:
        first = w.scene.key.fingerprint()
        w.refuses = _All(first)
        with pytest.raises(RollFailedError) as caught:
            await w.rotate(Reason.INCIDENT)
        assert not isinstance(caught.value, RolledBackError)
        w.scene.turn(60)
        assert w.served() == {first} and await w.current() != first


async def test_a_run_that_dies_in_the_roll_is_finished_by_the_next_with_no_extra_restart() -> None:
    async with world() as w:
        w.scene.double.inject("list pods", Kind.FAILED, after=7, times=20)
        with pytest.raises(UnavailableError):
            await w.rotate()
        w.scene.double.heal()
        made = w.provider.made
        w.clock.forward(minutes=30)
        assert (await w.rotate()).result is Result.ROTATED
        assert w.provider.made == made and w.served() == {await w.current()}
        assert len(w.scene.uids) == 4


async def test_rollback_is_another_roll_onto_the_value_of_before() -> None:
    async with world() as w:
        first = w.scene.key.fingerprint()
        await w.rotate()
        await plain_flows.rollback(w.worker())
        assert await w.current() == first and w.served() == {first}
        assert len(w.scene.uids) == 6


async def test_pods_that_were_undone_after_the_roll_keep_the_old_key_alive() -> None:
    """Nobody looks at them between the roll and the end of the overlap: the evidence is gathered anew."""
    async with world() as w:
        await w.rotate()
        annotations = w.scene.read()["spec"]["template"]["metadata"]["annotations"]
        nothing = {"spec": {"template": {"metadata": {"annotations": dict.fromkeys(annotations)}}}}
        w.scene.patch(nothing)
        w.scene.turn(60)
        w.clock.forward(hours=2)
        with pytest.raises(PermanentError, match="deployment/litellm does not serve the current key"):
            await plain_flows.retire(w.worker(), w.clock.now())
        assert w.provider.accepts(w.scene.key)
        await w.rotate()
        assert w.scene.marks() == {(await w.journal()).rollout}, "the next run rolls them again"


async def test_a_secret_that_somebody_puts_back_keeps_the_old_key_alive() -> None:
    async with world() as w:
        await w.rotate()
        w.clock.forward(hours=2)
        fleet = w.worker().fleets["prod"]
        w.scene.set_key(w.scene.key)
        assert {await fleet.serving(member, CREDENTIAL) for member in await fleet.members()} == {None}
        with suppress(KeyturnError):
            await plain_flows.retire(w.worker(), w.clock.now())
        assert w.provider.accepts(w.scene.key)
