"""What is found before anything is created: that it may roll, that it would help, and what it would cost."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.delivery.variable_names import Names
from keyturn.errors import UnavailableError
from keyturn.fleets.kubernetes_rules import rules
from keyturn.kubernetes.pods import mark_name
from keyturn.kubernetes.rollout import Kind as Workload
from keyturn.model import Finding
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
    apis,
    container,
    deployment,
    rollout_of,
    scene,
)

RULES = rules([KEYS], tuple(Workload))


async def found(s: Scene, **fleet: Any) -> list[Finding]:
    s.double.calls.clear()
    found = list(await s.fleet(**fleet).preflight(CREDENTIAL))
    assert {call.split()[0] for call in s.double.calls} <= {"get", "list", "create"}, "it only looks"
    assert all(finding.detail and finding.remedy for finding in found if finding.ok is False)
    return found


async def wrong(s: Scene, **fleet: Any) -> list[tuple[bool | None, str]]:
    return [(each.ok, f"{each.what}: {each.detail}") for each in await found(s, **fleet) if each.ok is not True]


async def test_a_fleet_that_is_well_under_the_least_role() -> None:
    async with scene() as s:
        assert await wrong(s, token=s.double.account("keyturn", RULES, namespace=SPACE)) == []


@pytest.mark.parametrize("rule", range(len(RULES)))
async def test_each_permission_that_is_missing_is_named_as_a_rule(rule: int) -> None:
    async with scene() as s:
        for verb in RULES[rule]["verbs"]:
            fewer = [{**each, "verbs": [v for v in each["verbs"] if (n, v) != (rule, verb)]} for n, each in enumerate(RULES)]
            token = s.double.account("keyturn", fewer, namespace=SPACE)
            refused = [each for each in await found(s, token=token) if each.ok is not True]
            assert any(f"verbs: [{verb}]" in each.remedy for each in refused), (RULES[rule], verb)


@pytest.mark.parametrize(
    ("spec", "ok", "said"),
    [
        ({"paused": True}, False, "paused"),
        ({"replicas": 0}, None, "nothing to replace"),
        ({"replicas": 1}, None, "one pod"),
        ({"strategy": {"type": "Recreate"}}, None, "Recreate"),
        ({"pod": {"containers": [container(lifecycle=None)]}}, None, "preStop"),
        ({"pod": {"terminationGracePeriodSeconds": 30}}, None, "killed 30s"),
        ({"pod": {"containers": [container(envFrom=None)]}}, False, f"no container of it is given {VARIABLE}"),
        ({"pod": {"containers": [container(env=[{"name": VARIABLE, "value": "x"}])]}}, False, "by its template"),
        ({"pod": {"containers": [container(envFrom=[{"secretRef": {"name": "absent"}}])]}}, False, "no Secret llm/absent"),
    ],
)
async def test_what_stands_in_the_way_and_what_is_only_told(spec: dict[str, Any], ok: bool | None, said: str) -> None:
    async with scene([deployment(**spec)]) as s:
        told = await _wrong_though_nothing_is_ready(s)
        assert any(each[0] is ok and said in each[1] for each in told), told
        assert ok is False or not any(each[0] is False for each in told), told


async def _wrong_though_nothing_is_ready(s: Scene) -> list[tuple[bool | None, str]]:
    """Some of these templates make no pod that this scene lets be ready: that is not what is looked at here."""
    if any("envFrom" not in each["spec"]["containers"][0] for each in s.pods()):
        s.patch({"spec": {"replicas": 0}})
        s.turn(5)
    return await wrong(s)


@pytest.mark.parametrize(
    ("kind", "strategy", "said"),
    [
        ("StatefulSet", {"type": "OnDelete"}, "OnDelete"),
        ("DaemonSet", {"type": "OnDelete"}, "OnDelete"),
        ("StatefulSet", {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "partition is 1"),
    ],
)
async def test_strategies_that_replace_no_pod(kind: str, strategy: dict[str, Any], said: str) -> None:
    made = {**deployment(), "kind": kind}
    for field in ("strategy", "progressDeadlineSeconds", *(["replicas"] if kind == "DaemonSet" else [])):
        del made["spec"][field]
    made["spec"] |= {"updateStrategy": strategy, **({"serviceName": NAME} if kind == "StatefulSet" else {})}
    async with scene([made]) as s:
        s.turn(10)
        assert any(ok is False and said in told for ok, told in await wrong(s))


async def test_a_secret_without_a_key_in_it_is_told() -> None:
    async with scene() as s:
        s.set_key("")
        assert any(ok is False and "no key stands there" in told for ok, told in await wrong(s))


async def test_a_credential_whose_variable_is_not_known_is_told() -> None:
    async with scene() as s:
        assert any(ok is False and "which variable" in told for ok, told in await wrong(s, variables=None))
        named = await wrong(s, variables=Names("ANOTHER_KEY"))
        assert any(ok is False and "ANOTHER_KEY" in told for ok, told in named)


@pytest.mark.parametrize(
    "more",
    [
        {"containers": [container(command=["/usr/bin/keyturn", "exec", "--proxy", "prod", "--", "litellm"], envFrom=None)]},
        {
            "containers": [container(envFrom=None)],
            "volumes": [{"name": "keys", "csi": {"driver": "secrets-store.csi.k8s.io"}}],
        },
        {"containers": [container(envFrom=None)], "annotations": {"vault.hashicorp.com/agent-inject": "true"}},
    ],
)
async def test_what_reads_its_store_when_it_starts_has_nothing_to_wait_for(more: dict[str, Any]) -> None:
    pod = {name: value for name, value in more.items() if name != "annotations"}
    async with scene([deployment(pod=pod, annotations=more.get("annotations"), replicas=0)]) as s:
        assert not any(ok is False for ok, _ in await wrong(s))


async def test_a_render_that_somebody_else_keeps_up_to_date_is_not_taken_for_the_store() -> None:
    command = ["keyturn", "exec", "--env-file", "/keys/env", "--", "litellm"]
    made = deployment(pod={"containers": [container(command=command, envFrom=None)]}, replicas=0)
    async with scene([made]) as s:
        assert any(ok is False and "no container" in told for ok, told in await wrong(s))
        assert not any(ok is False for ok, _ in await wrong(s, reads="at_start"))


async def test_a_rollout_that_is_under_way_is_waited_for_whoever_began_it() -> None:
    async with scene() as s:
        s.patch({"spec": {"template": {"metadata": {"annotations": {"deployed": "by somebody"}}}}})
        with pytest.raises(UnavailableError, match=DEPLOYMENT):
            await found(s)
        s.turn(10)
        assert await wrong(s) == []


async def test_one_that_has_failed_is_in_the_way() -> None:
    async with scene() as s:
        key = new_key()
        s.refused.add(key.fingerprint())
        s.set_key(key)
        s.patch({"spec": {"template": {"metadata": {"annotations": {mark_name(CREDENTIAL): rollout_of(key)}}}}})
        s.turn(70)
        assert any(ok is False and "its last rollout failed" in told for ok, told in await wrong(s))


@pytest.mark.parametrize(
    ("labels", "said"), [({}, "kept by nothing"), ({"rollouts-pod-template-hash": "abc"}, "an Argo Rollout")]
)
async def test_pods_that_nothing_would_roll_are_in_the_way(labels: dict[str, str], said: str) -> None:
    async with scene([deployment(labels={**LABELS, "component": "gateway"})]) as s:
        pod = {"metadata": {"name": "stray", "labels": {**LABELS, **labels}}, "spec": {"containers": [container()]}}
        s.core.create_namespaced_pod(SPACE, pod)
        s.turn(5)
        assert any(ok is False and said in told for ok, told in await wrong(s))


@pytest.mark.parametrize(("least", "said"), [({}, True), ({"minReplicas": 1}, True), ({"minReplicas": 2}, False)])
async def test_an_autoscaler_that_may_leave_one_pod_is_told(least: dict[str, int], said: bool) -> None:
    async with scene() as s:
        for name in (NAME, "another"):
            target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
            spec = {"scaleTargetRef": target, "maxReplicas": 5, **least}
            apis.AutoscalingV1Api(s.apps.api_client).create_namespaced_horizontal_pod_autoscaler(
                SPACE, {"metadata": {"name": name}, "spec": spec}
            )
        told = await wrong(s)
        assert [ok for ok, _ in told] == ([None] if said else []) and all(DEPLOYMENT in each for _, each in told)


async def test_nothing_found_is_told() -> None:
    async with scene([]) as s:
        assert any(ok is False and "no workload" in told for ok, told in await wrong(s))


async def test_a_server_that_is_away_is_no_finding() -> None:
    async with scene() as s:
        s.double.inject("list deployments", Kind.UNAVAILABLE)
        with pytest.raises(UnavailableError):
            await s.fleet().preflight(CREDENTIAL)
