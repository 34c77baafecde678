"""A roll of pods that are processes, with requests through their Service all the while: none of them fails."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from keyturn.delivery.variable_names import Names
from keyturn.fleets.kubernetes import KubernetesFleet
from keyturn.material import KeyMaterial
from keyturn.model import Member, VersionRef
from keyturn.references import resolver
from tests.testing.process_scene import NAME, PORT, SPACE, ProcessScene, process_scene
from tests.testing.test_kubernetes_rolls import DRAIN, change_key, fingerprint, proxies, service, traffic

pytestmark = pytest.mark.real


def fleet_of(on: ProcessScene) -> KubernetesFleet:
    on.apps.patch_namespaced_deployment(NAME, SPACE, {"metadata": {"labels": {"app": NAME}}})
    settings = {
        "server": on.double.url,
        "token": "env:TOKEN",
        "namespace": SPACE,
        "selector": f"app={NAME}",
        "master_key": "env:MASTER",
        "port": PORT,
        "settle": "0s",
        "poll_interval": "1s",
    }
    resolve = resolver(environ={"TOKEN": on.double.admin_token})
    return KubernetesFleet(KubernetesFleet.Settings.model_validate(settings), resolve, lambda _: Names("OPENAI_API_KEY"))


async def test_a_roll_loses_no_request_and_each_new_pod_is_asked_at_its_own_address(tmp_path: Path) -> None:
    with process_scene(tmp_path) as on:
        proxies(on, lifecycle=DRAIN)
        fleet, asked = fleet_of(on), {}
        before = {member.name for member in await fleet.members()}

        async def proved(member: Member) -> None:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"{member.url}/v1/chat/completions", json={}, timeout=30)
            asked[member.name] = answer.json()["choices"][0]["message"]["content"]

        with service(on) as balancer, traffic(balancer.url) as seen:
            change_key(on, "two")
            version = VersionRef("", KeyMaterial("two").fingerprint())
            await fleet.replace(f"deployment/{NAME}", "openai", version, f"{version.fingerprint}.1", proved)
            members = await fleet.members()
            served = [await fleet.serving(member, "openai") for member in members]
        await fleet.aclose()
        assert seen.failed == [] and fingerprint("one") in seen.served
        assert not before & {member.name for member in members} and served == [version, version]
        assert asked == {member.name: fingerprint("two") for member in members}
