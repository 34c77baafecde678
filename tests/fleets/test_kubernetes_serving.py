"""What a pod is believed to serve: what its template was marked for while its Secret holds that, and nothing else."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest

from keyturn.canary.calls import Calls
from keyturn.delivery.variable_names import names_of
from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.key_parts import AWS_ACCESS_KEY, joined
from keyturn.kubernetes.pods import mark_name, name_of
from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.testing.kubernetes_double import Kind
from keyturn.testing.store_scene import new_key
from tests.fleets.kubernetes_scene import (
    CREDENTIAL,
    DEPLOYMENT,
    KEYS,
    LABELS,
    NAME,
    SPACE,
    VARIABLE,
    Scene,
    container,
    deployment,
    rollout_of,
    scene,
)


async def served(s: Scene, **fleet: Any) -> list[str]:
    """The fingerprint of what each member serves; "": unknown."""
    asked = s.fleet(**fleet)
    found = [await asked.serving(member, CREDENTIAL) for member in await asked.members()]
    return [version.fingerprint if version else "" for version in found]


async def test_pods_that_nobody_has_rolled_are_unknown() -> None:
    async with scene() as s:
        assert await served(s) == ["", ""]


async def test_pods_of_the_roll_serve_what_it_was_for() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        assert await served(s) == [key.fingerprint()] * 2


async def test_in_the_middle_of_a_roll_only_what_is_new_and_ready_is_known() -> None:
    async with scene() as s:
        first, second = new_key(), new_key()
        s.set_key(first)
        await s.replace(first)
        s.ends_after, s.refused = 30, {second.fingerprint()}
        s.set_key(second)
        s.patch({"spec": {"template": {"metadata": {"annotations": {mark_name(CREDENTIAL): rollout_of(second)}}}}})
        s.turn(5)
        assert len(s.names()) == 3 and await served(s) == ["", "", ""], "two are of before, and one is not ready"
        s.refused.clear()
        for pod in s.pods():
            if pod["metadata"]["annotations"][mark_name(CREDENTIAL)] == rollout_of(second):
                s.core.delete_namespaced_pod(name_of(pod), SPACE)
        s.turn(40)
        assert second.fingerprint() in await served(s)


async def test_an_ending_pod_is_a_member_and_serves_on_until_it_has_ended() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        s.ends_after = 60
        await s.replace(key)
        (first, _) = s.pods()
        s.core.delete_namespaced_pod(name_of(first), SPACE)
        s.turn(5)
        members = await s.fleet().members()
        assert len(members) == 3 and members[-1].name == f"pod {name_of(first)}", "what serves comes first"
        assert await served(s) == [key.fingerprint()] * 3
        s.turn(60)
        assert len(await s.fleet().members()) == 2


async def test_a_secret_that_was_changed_since_makes_every_pod_unknown() -> None:
    """A container that was restarted meanwhile has loaded that."""
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        s.set_key(new_key())
        assert await served(s) == ["", ""]
        s.set_key("not\na key")
        assert await served(s) == ["", ""]
        s.core.delete_namespaced_secret(KEYS, SPACE)
        assert await served(s) == ["", ""]


async def test_a_mark_that_is_not_the_newest_template_s_counts_for_nothing() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        s.patch({"spec": {"template": {"metadata": {"annotations": {mark_name(CREDENTIAL): rollout_of(new_key())}}}}})
        assert await served(s) == ["", ""]


async def test_a_mark_that_is_none_of_ours_counts_for_nothing() -> None:
    async with scene([deployment(annotations={mark_name(CREDENTIAL): "yesterday"})]) as s:
        assert await served(s) == ["", ""]


async def test_what_was_rolled_for_another_credential_counts_for_nothing() -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        fleet = s.fleet()
        assert [await fleet.serving(member, "another") for member in await fleet.members()] == [None, None]
        assert not await fleet.was_rolled(DEPLOYMENT, "another", rollout_of(key))


@pytest.mark.parametrize("call", ["get pods", "get deployments", "get secrets"])
async def test_what_cannot_be_asked_is_unknown(call: str) -> None:
    async with scene() as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        s.double.inject(call, Kind.UNAVAILABLE, times=0)
        assert await served(s) == ["", ""]


async def test_a_pod_that_has_the_labels_and_no_workload_is_a_member_that_proves_nothing() -> None:
    """As those of an Argo Rollout, or of a kind that is not among `kinds`: it may serve, and nothing would roll it."""
    async with scene([deployment(labels={**LABELS, "component": "gateway"})]) as s:
        key, spec = new_key(), {"containers": [container()]}
        s.set_key(key)
        await s.replace(key)
        mark = {mark_name(CREDENTIAL): rollout_of(key)}
        stray = {"metadata": {"name": "stray", "labels": LABELS, "annotations": mark}, "spec": spec}
        s.core.create_namespaced_pod(SPACE, stray)
        s.core.create_namespaced_pod("other", stray)
        s.turn(5)
        fleet = s.fleet()
        assert len(await fleet.members()) == 3, "what is in another namespace is none of them"
        assert "pod stray" in {member.name for member in await fleet.members()}
        assert await fleet.serving(Member("pod stray", ""), CREDENTIAL) is None


async def test_addresses_of_pods() -> None:
    async with scene() as s:
        assert {member.url for member in await s.fleet(port=8080).members()} == {"http://127.0.0.1:8080"}
        pod = s.pods()[0]
        assert pod["status"]["podIP"] == "127.0.0.1"


async def test_a_pod_without_an_address_cannot_be_asked() -> None:
    async def master_key() -> KeyMaterial:
        return new_key()

    calls = Calls(master_key, timedelta(seconds=5), None)
    with pytest.raises(UnavailableError):
        await calls.deployments(Member("pod x", ""))
    await calls.aclose()


# Which Secret.


async def test_a_variable_of_env_goes_before_those_of_env_from() -> None:
    reference = {"secretKeyRef": {"name": "first", "key": "openai"}}
    pod = {"containers": [container(env=[{"name": VARIABLE, "valueFrom": reference}])]}
    async with scene([]) as s:
        key = new_key()
        s.core.create_namespaced_secret(SPACE, {"metadata": {"name": "first"}, "stringData": {"openai": key.reveal()}})
        s.apps.create_namespaced_deployment(SPACE, deployment(pod=pod))
        s.turn(5)
        await s.replace(key)
        assert await served(s) == [key.fingerprint()] * 2


async def test_the_last_of_several_secrets_that_has_the_variable_decides() -> None:
    sources = [{"secretRef": {"name": name}} for name in (KEYS, "second", "third")]
    sources[2]["secretRef"]["optional"] = True  # type: ignore[assignment]
    sources.append({"secretRef": {"name": "prefixed"}, "prefix": "OPENAI_"})  # type: ignore[dict-item]
    async with scene([]) as s:
        key, last = new_key(), new_key()
        s.core.create_namespaced_secret(SPACE, {"metadata": {"name": "second"}, "stringData": {"OTHER": "x"}})
        s.core.create_namespaced_secret(SPACE, {"metadata": {"name": "prefixed"}, "stringData": {"OTHER": "x"}})
        s.apps.create_namespaced_deployment(SPACE, deployment(pod={"containers": [container(envFrom=sources)]}))
        s.turn(5)
        s.set_key(key)
        await s.replace(key)
        assert await served(s) == [key.fingerprint()] * 2
        s.core.patch_namespaced_secret("prefixed", SPACE, {"stringData": {"API_KEY": last.reveal()}})
        assert await served(s) == ["", ""], "a container that restarts now is given the other one"


async def test_a_config_map_that_stands_behind_is_looked_into() -> None:
    sources = [{"secretRef": {"name": KEYS}}, {"configMapRef": {"name": "settings", "optional": True}}]
    async with scene([]) as s:
        key = new_key()
        made = {"metadata": {"name": "settings"}, "data": {"OTHER": "x"}}
        s.core.create_namespaced_config_map(SPACE, made)
        s.apps.create_namespaced_deployment(SPACE, deployment(pod={"containers": [container(envFrom=sources)]}))
        s.turn(5)
        s.set_key(key)
        await s.replace(key)
        assert await served(s) == [key.fingerprint()] * 2
        s.core.patch_namespaced_config_map("settings", SPACE, {"data": {VARIABLE: new_key().reveal()}})
        assert await served(s) == ["", ""]


async def test_each_container_that_is_given_the_key_counts() -> None:
    reference = {"secretKeyRef": {"name": "other", "key": "openai"}}
    second = container(name="worker", envFrom=None, env=[{"name": VARIABLE, "valueFrom": reference}])
    async with scene([]) as s:
        key = new_key()
        s.core.create_namespaced_secret(SPACE, {"metadata": {"name": "other"}, "stringData": {"openai": s.key.reveal()}})
        s.apps.create_namespaced_deployment(SPACE, deployment(pod={"containers": [container(), second]}))
        s.turn(5)
        s.set_key(key)
        with pytest.raises(UnavailableError, match="Secret other"):
            await s.replace(key, sync_timeout="5s")
        await s.replace(key, container="litellm")
        assert await served(s) == ["", ""]
        assert await served(s, container="litellm") == [key.fingerprint()] * 2


async def test_a_key_of_several_parts_is_put_together_of_its_variables() -> None:
    parts = {part.variable: secrets.token_hex(10) for part in AWS_ACCESS_KEY}
    whole, names = KeyMaterial(joined(parts)), names_of(None, None, "aws_access_key")
    async with scene() as s:
        s.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": parts})
        await s.replace(whole, variables=names)
        assert await served(s, variables=names) == [whole.fingerprint()] * 2
        s.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {"AWS_SECRET_ACCESS_KEY": "another"}})
        assert await served(s, variables=names) == ["", ""], "one part of another version makes another key"


# Which workloads.


async def test_the_split_chart_is_rolled_workload_by_workload() -> None:
    both = [deployment(name, labels={**LABELS, "component": name}) for name in ("gateway", "backend")]
    async with scene(both) as s:
        key, fleet = new_key(), s.fleet()
        assert await fleet.workloads() == ["deployment/backend", "deployment/gateway"]
        s.set_key(key)
        await s.replace(key, workload="deployment/backend")
        assert sorted(await served(s)) == ["", "", *[key.fingerprint()] * 2]
        await s.replace(key, workload="deployment/gateway")
        assert await served(s) == [key.fingerprint()] * 4


async def test_a_workload_whose_labels_are_fewer_does_not_wait_for_the_pods_of_another() -> None:
    """A chart's worker, with all of the labels of the proxy, and one more."""
    both = [deployment(), deployment(f"{NAME}-worker", labels={**LABELS, "component": "worker"})]
    async with scene(both) as s:
        key = new_key()
        s.set_key(key)
        await s.replace(key)
        assert sorted(await served(s)) == ["", "", *[key.fingerprint()] * 2]
        await s.replace(key, workload=f"deployment/{NAME}-worker")
        assert await served(s) == [key.fingerprint()] * 4


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_the_other_kinds_of_workload(kind: str) -> None:
    made = {**deployment(), "kind": kind}
    for field in ("strategy", "progressDeadlineSeconds", *(["replicas"] if kind == "DaemonSet" else [])):
        del made["spec"][field]
    if kind == "StatefulSet":
        made["spec"]["serviceName"] = NAME
    async with scene([made]) as s:
        s.turn(10)
        key, workload = new_key(), f"{kind.lower()}/{NAME}"
        before = {pod["metadata"]["uid"] for pod in s.pods()}
        assert len(before) == 2 and await s.fleet().workloads() == [workload]
        s.set_key(key)
        await s.replace(key, workload=workload)
        assert await served(s) == [key.fingerprint()] * 2
        assert not before & {pod["metadata"]["uid"] for pod in s.pods()}
        count = len(s.uids)
        await s.replace(key, workload=workload)
        assert len(s.uids) == count == 4


async def test_a_selector_that_finds_nothing_is_told() -> None:
    async with scene() as s:
        with pytest.raises(MisconfiguredError, match="no workload"):
            await s.fleet(selector="app=nothing").workloads()
        with pytest.raises(MisconfiguredError):
            await s.fleet(kinds=["StatefulSet"]).workloads()
        with pytest.raises(MisconfiguredError, match="no name of a workload"):
            await s.fleet().was_rolled("litellm", CREDENTIAL, "x")
