"""The Kubernetes double rolls a Deployment as a recorded 1.36.2 server did: every answer and every watch event of one scene.

The rules of the comparison, as they were made with the recordings:

1. Not compared: uid, resourceVersion, every moment, and the annotation `mini/port`, which was its node's own.
2. Random names (of ReplicaSets, pods and token volumes) are numbered by their first appearance.
3. Lists are put in order by their template's `restartedAt`: a server orders them by name, which is random.
4. All else is equal, field for field: an absent counter is no 0.
5. Events are compared for each generation, since their number differs from run to run: the order of the reasons of
   Progressing without repeats, the last counters but for `terminatingReplicas`, none of which is ever 0, and
   `readyReplicas` never below 2 from generation 2 on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from keyturn.kubernetes.pods import mark_name
from keyturn.kubernetes.rollout import Kind as Workload
from keyturn.kubernetes.rollout import State, judge, mark_of
from keyturn.testing.kubernetes_containers import Behaviour
from keyturn.testing.kubernetes_deployments import DEPLOYMENTS
from keyturn.testing.kubernetes_objects import Event
from keyturn.testing.kubernetes_pods import PODS
from keyturn.testing.kubernetes_refusals import Object
from tests.testing.rollout_scene import KEYS, NAME, RESTARTED, SPACE, Scene, deployment, scene, unless_bad

GOLDEN = Path(__file__).parent.parent / "data" / "kubernetes-1.36.2"
apis: Any = client
VOLATILE = {
    *("uid", "resourceVersion", "creationTimestamp", "lastTransitionTime", "lastUpdateTime"),
    *("startTime", "startedAt", "lastProbeTime", "mini/port"),
}
COUNTERS = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


@dataclass
class Played:
    """What the scene gave: the answers by the names of the recordings, and what happened from its beginning to its end."""

    answers: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def play(on: Scene, ends_after: float = 0.0) -> Played:
    """`ends_after`: how long a pod takes to end, seconds. In the recording it was nothing."""
    played, cluster = Played(), on.double.cluster
    began = cluster.number
    delays = iter([1.0, 1.25])

    def one_after_the_other(pod: Object, environment: Mapping[str, str]) -> Behaviour:
        """The recorded pods of the create were ready a moment apart."""
        delay = next(delays, None)
        behaviour = unless_bad(pod, environment) if delay is None else Behaviour(ready_after=delay)
        return replace(behaviour, ends_after=ends_after)

    on.runtime.behaves = one_after_the_other

    played.answers["create-response"] = on.plain(on.create())
    on.turn(5)
    on.set_key("v2")
    played.answers["patch-restart-response"] = on.plain(on.restart("2026-11-23T09:00:00Z"))
    on.turn(8)
    on.set_key("bad")
    on.restart("2026-11-23T09:01:00Z")
    on.turn(12)
    played.answers["deadline-exceeded"] = on.read()
    played.answers["pods-during-failed"] = on.plain(on.core.list_namespaced_pod(SPACE))
    played.answers["rs-during-failed"] = on.plain(on.apps.list_namespaced_replica_set(SPACE))
    on.set_key("v2")
    on.restart("2026-11-23T09:02:00Z")
    on.turn(8)
    played.answers |= refusals(on)
    on.turn(1)
    played.answers |= least_privilege(on)
    on.turn(1)
    both = [*cluster.events(DEPLOYMENTS, began), *cluster.events(PODS, began)]
    played.events = sorted(both, key=lambda event: event.number)
    return played


def answered(on: Scene, call: Callable[[], object]) -> dict[str, Any]:
    try:
        return on.plain(call())
    except ApiException as error:
        return {"status": error.status, "body": json.loads(str(error.body))}


def api(on: Scene, token: str) -> Any:
    configuration = client.Configuration(host=on.double.url)
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return client.ApiClient(configuration)


def refusals(on: Scene) -> dict[str, Any]:
    nobody = apis.AppsV1Api(api(on, "nope"))
    other = {"spec": {"selector": {"matchLabels": {"app": "z"}}}}
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}}
    return {
        "err-notfound": answered(on, lambda: on.apps.read_namespaced_deployment("nope", SPACE)),
        "err-dup": answered(on, lambda: on.apps.create_namespaced_deployment(SPACE, deployment())),
        "err-conflict": answered(on, lambda: on.patch(stale)),
        "err-selector-immutable": answered(on, lambda: on.patch(other)),
        "err-invalid": answered(on, lambda: on.patch({"spec": {"replicas": -1}})),
        "smp-env": answered(on, lambda: on.patch({"metadata": {"annotations": {"x": "y"}}})),
        "err-unauthorized": answered(on, lambda: nobody.read_namespaced_deployment(NAME, SPACE)),
    }


def least_privilege(on: Scene) -> dict[str, Any]:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [NAME], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
    ]
    its = api(on, on.double.account("rotator", rules, namespace=SPACE))
    apps, core = apis.AppsV1Api(its), apis.CoreV1Api(its)
    note, one = {"metadata": {"annotations": {"x": "z"}}}, {"spec": {"replicas": 1}}
    return {
        "rbac-ok-get": answered(on, lambda: apps.read_namespaced_deployment(NAME, SPACE)),
        "rbac-deny-secret": answered(on, lambda: core.read_namespaced_secret(KEYS, SPACE)),
        "rbac-deny-pods": answered(on, lambda: core.list_namespaced_pod(SPACE)),
        "rbac-patch": answered(on, lambda: apps.patch_namespaced_deployment(NAME, SPACE, note)),
        "rbac-deny-scale": answered(on, lambda: apps.patch_namespaced_deployment_scale(NAME, SPACE, one)),
    }


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with scene() as on:
        yield play(on)


def recorded(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def comparable(value: Any, names: dict[str, str]) -> Any:
    """By the rules 1 and 2."""
    if isinstance(value, dict):
        return {key: comparable(each, names) for key, each in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [comparable(each, names) for each in value]
    if isinstance(value, str):
        value = re.sub(r"kube-api-access-\w{5}", "kube-api-access-#", value)

        def numbered(found: re.Match[str]) -> str:
            return names.setdefault(found[2], f"#{len(names)}")

        return re.sub(r"(litellm-)?\b([0-9a-f]{8,10})\b(-\w{5})?", numbered, value)
    return value


def in_order(answer: dict[str, Any]) -> dict[str, Any]:
    """By rule 3."""

    def restarted(item: dict[str, Any]) -> str:
        template = item["spec"].get("template", item)
        return str((template["metadata"].get("annotations") or {}).get(RESTARTED, ""))

    return {**answer, "items": sorted(answer["items"], key=restarted)} if "items" in answer else answer


ANSWERS = sorted(
    {path.stem for path in GOLDEN.glob("*.json")} - {"deployment-watch-timeline", "tokenreview-ok", "tokenreview-bad"}
)


@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_is_the_recorded_one(name: str, played: Played) -> None:
    assert comparable(in_order(played.answers[name]), {}) == comparable(in_order(recorded(name)), {})


def phases(moments: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """By rule 5."""
    found: dict[int, dict[str, Any]] = {}
    for moment in moments:
        phase = found.setdefault(moment["gen"], {"reasons": [], "fell below 2": False, "zero": False})
        reason = next((each[2] for each in moment["cond"] if each[0] == "Progressing"), None)
        if phase["reasons"][-1:] != [reason]:
            phase["reasons"].append(reason)
        phase["fell below 2"] |= moment["gen"] > 1 and (moment["readyReplicas"] or 0) < 2
        phase["last"] = {name: moment[name] for name in COUNTERS}
        phase["zero"] |= any(moment[name] == 0 for name in COUNTERS[1:])
    return found


def moment_of(each: dict[str, Any]) -> dict[str, Any]:
    status = each["status"]
    conditions = [(one["type"], one["status"], one["reason"]) for one in status.get("conditions", [])]
    return {"gen": each["metadata"]["generation"], "cond": conditions, **{name: status.get(name) for name in COUNTERS}}


def test_what_a_watch_tells_of_each_generation_is_what_was_recorded(played: Played) -> None:
    ours = [moment_of(event.after) for event in played.events if event.resource is DEPLOYMENTS]
    theirs = [moment for moment in recorded("deployment-watch-timeline") if "mark" not in moment]
    assert phases(ours) == phases(theirs)


def test_a_watch_tells_the_recorded_states_one_after_another(played: Played) -> None:
    """More than the rules ask for: counters and conditions together, and no state between that was not recorded."""

    def states(moments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told = [{**moment, "cond": [list(each) for each in moment["cond"]]} for moment in moments]
        told = [{name: each[name] for name in ("gen", "cond", *COUNTERS)} for each in told]
        return [each for number, each in enumerate(told) if number == 0 or each != told[number - 1]]

    ours = states([moment_of(event.after) for event in played.events if event.resource is DEPLOYMENTS])
    theirs = states([moment for moment in recorded("deployment-watch-timeline") if "mark" not in moment])
    assert ours == theirs


@pytest.mark.parametrize("ends_after", [0.0, 3.0])
def test_a_rollout_is_judged_done_only_when_its_controller_says_so_and_no_pod_of_before_is_left(ends_after: float) -> None:
    """At every write of anybody, with the pods as they were at that moment."""
    with scene() as on:
        played = play(on, ends_after)
    states: dict[int, list[State]] = {}
    there: dict[str, Any] = {}
    pods: dict[str, Any] = {}
    for event in played.events:
        after = json.loads(json.dumps(event.after).replace(RESTARTED, mark_name("a")))
        if event.resource is DEPLOYMENTS:
            there = after
        elif event.kind == "DELETED":
            pods.pop(after["metadata"]["name"])
        else:
            pods[after["metadata"]["name"]] = after
        found = judge(Workload.DEPLOYMENT, there, list(pods.values()), "a", mark_of(there, "a")).state
        told = moment_of(there)
        reasons = {each[2] for each in told["cond"] if each[0] == "Progressing"}
        if found is State.DONE:
            assert told["observedGeneration"] == told["gen"]
            assert reasons == {"NewReplicaSetAvailable"}
            assert len(pods) == 2 and not any("deletionTimestamp" in each["metadata"] for each in pods.values())
        if found is State.FAILED:
            assert told["observedGeneration"] == told["gen"] and reasons == {"ProgressDeadlineExceeded"}
        states.setdefault(told["gen"], []).append(found)
    assert {generation: each[-1] for generation, each in states.items()} == {
        **dict.fromkeys((1, 2, 4, 5, 6), State.DONE),
        3: State.FAILED,
    }
    assert all(each[0] is State.ROLLING for each in states.values()), "nothing is believed before it was looked at"
