"""What the Kubernetes double's workloads do beyond the recorded scene: each rule of a rollout that could mislead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from keyturn.testing.kubernetes_clock import moment_of
from keyturn.testing.kubernetes_containers import Behaviour, Played
from keyturn.testing.kubernetes_deployments import DEPLOYMENTS, surge_and_unavailable
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.kubernetes_pods import PODS
from keyturn.testing.kubernetes_refusals import Object, RefusedError
from keyturn.testing.kubernetes_replica_sets import REPLICA_SETS
from keyturn.testing.kubernetes_rolling import new_size, old_sizes
from keyturn.testing.kubernetes_workload_control import WorkloadControl
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads
from tests.testing.rollout_scene import KEYS, NAME, SPACE, Scene, deployment, scene

ROLLING = {"type": "RollingUpdate"}


@pytest.fixture
def on() -> Iterator[Scene]:
    with scene() as made:
        yield made


def refused(call: Callable[[], object]) -> ApiException:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def always(behaviour: Behaviour) -> Callable[[Object, Mapping[str, str]], Behaviour]:
    return lambda pod, environment: behaviour


def hashes(pods: list[dict[str, Any]]) -> set[str]:
    return {each["metadata"]["labels"]["pod-template-hash"] for each in pods}


def live(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in pods if "deletionTimestamp" not in each["metadata"]]


def is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])


# Strategies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (1, "0%", "25%", (0, 1)),
        (2, 1, 0, (1, 0)),
        (2, 0, 5, (0, 2)),
    ],
)
def test_percentages_are_rounded_up_for_a_surge_and_down_for_what_is_away(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert surge_and_unavailable(deployment(replicas=replicas, strategy=rolling)) == expected


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (1, 0), (3, 0), (1, 1), ("25%", "25%"), ("100%", 0), (0, "50%")])
def test_no_write_of_a_rollout_leaves_its_bounds(surge: Any, unavailable: Any, on: Scene) -> None:
    """Pods that are meant to stay, at every write: never above the surge, never below what must be available."""
    on.create(replicas=5, strategy={**ROLLING, "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
    on.turn(5)
    most, away = surge_and_unavailable(on.read())
    cluster = on.double.cluster
    began, pods = cluster.number, {each["metadata"]["name"]: each for each in on.pods()}
    on.restart("2026-01-01T00:00:00Z")
    on.turn(40)
    assert on.progress() == "NewReplicaSetAvailable"
    for event in cluster.events(PODS, began):
        pods[event.after["metadata"]["name"]] = event.after
        if event.kind == "DELETED":
            del pods[event.after["metadata"]["name"]]
        staying = live(list(pods.values()))
        assert len(staying) <= 5 + most
        assert sum(is_ready(each) for each in staying if "conditions" in each["status"]) >= 5 - away
    assert len(hashes(on.pods())) == 1


def test_pods_of_before_that_do_not_serve_go_before_those_that_do() -> None:
    def a_set(size: int, available: int) -> Object:
        return {"spec": {"replicas": size}, "status": {"availableReplicas": available}}

    wanted = deployment(strategy={**ROLLING, "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    serves, bad = a_set(2, 2), a_set(1, 0)
    assert new_size(wanted, 0, [serves, bad]) == 0, "there is no room yet"
    assert old_sizes(wanted, a_set(0, 0), [serves, bad]) == [2, 0]
    assert old_sizes(wanted, a_set(1, 0), [serves]) == [2], "the new one serves nobody yet"
    assert old_sizes(wanted, a_set(1, 1), [serves]) == [1]


def test_recreate_makes_nothing_new_before_the_last_of_before_has_ended(on: Scene) -> None:
    on.runtime.behaves = always(Behaviour(ends_after=3))
    on.create(strategy={"type": "Recreate"})
    on.turn(5)
    before = hashes(on.pods())
    on.restart("2026-01-01T00:00:00Z")
    on.turn(2.5)
    assert hashes(on.pods()) == before and live(on.pods()) == []
    told = on.read()["status"]
    assert not {"availableReplicas", "unavailableReplicas"} & set(told), "of what is not wanted yet none is unavailable"
    assert ("Available", "False") in [(each["type"], each["status"]) for each in told["conditions"]]
    on.turn(5)
    assert len(on.pods()) == 2 and not hashes(on.pods()) & before
    assert on.progress() == "NewReplicaSetAvailable"


def test_what_is_paused_does_not_roll_and_goes_on_when_it_is_resumed(on: Scene) -> None:
    on.create()
    on.turn(5)
    on.patch({"spec": {"paused": True}})
    on.restart("2026-01-01T00:00:00Z")
    before = hashes(on.pods())
    on.turn(60)
    told = on.read()
    assert (hashes(on.pods()), on.progress()) == (before, "DeploymentPaused")
    assert told["status"]["observedGeneration"] == told["metadata"]["generation"], "seen, and held"
    on.patch({"spec": {"paused": None}})
    on.turn(10)
    assert not hashes(on.pods()) & before and on.progress() == "NewReplicaSetAvailable"


def test_who_is_scaled_amid_a_rollout_still_ends_it(on: Scene) -> None:
    on.create(replicas=4)
    on.turn(5)
    on.restart("2026-01-01T00:00:00Z")
    on.turn(1.5)
    on.patch({"spec": {"replicas": 6}})
    on.turn(30)
    assert len(on.pods()) == 6 and len(hashes(on.pods())) == 1
    on.patch({"spec": {"replicas": 0}})
    on.turn(5)
    told = on.read()["status"]
    assert on.pods() == [] and not {"replicas", "readyReplicas", "availableReplicas"} & set(told), "a 0 is left out"


def test_the_template_of_before_comes_back_with_its_own_replica_set_and_a_new_revision(on: Scene) -> None:
    on.create()
    on.turn(5)
    first = hashes(on.pods())
    on.restart("2026-01-01T00:00:00Z")
    on.turn(10)
    on.patch({"spec": {"template": {"metadata": {"annotations": None}}}})
    on.turn(10)
    assert hashes(on.pods()) == first
    sets = on.double.cluster.list(REPLICA_SETS)[0]
    told = {each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in sets}
    assert (len(sets), told) == (2, {"2", "3"})
    assert on.read()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_replica_sets_beyond_the_limit_are_tidied_away(on: Scene) -> None:
    on.create(revisionHistoryLimit=1)
    for day in range(1, 5):
        on.turn(8)
        on.restart(f"2026-01-0{day}T00:00:00Z")
    on.turn(8)
    assert len(on.double.cluster.list(REPLICA_SETS)[0]) == 2


# Pods -------------------------------------------------------------------------------------------------------------------


def test_a_container_has_the_key_of_the_moment_at_which_it_started(on: Scene) -> None:
    seen: list[str] = []

    def noting(_pod: Object, environment: Mapping[str, str]) -> Behaviour:
        seen.append(environment["API_KEY"])
        return Behaviour(exits_after=20)

    on.runtime.behaves = noting
    on.create(replicas=1)
    on.turn(2)
    on.set_key("v2")
    on.turn(5)
    assert seen == ["v1"], "nothing but a start reads it again"
    on.turn(15)
    assert seen == ["v1", "v2"]
    (pod,) = on.pods()
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_that_keeps_exiting_waits_longer_each_time(on: Scene) -> None:
    on.runtime.behaves = always(Behaviour(ready_after=None, exits_after=1))
    on.create(replicas=1)
    on.turn(10)
    (pod,) = on.pods()
    told = pod["status"]["containerStatuses"][0]
    assert (told["restartCount"], told["state"]) == (2, {"waiting": {"reason": "CrashLoopBackOff"}})
    on.turn(120)
    assert on.workloads.kubelet.counts["restarted"] == 4, "after 0, 10, 20 and 40 seconds"
    assert on.progress() == "ProgressDeadlineExceeded"


def test_who_has_run_for_ten_minutes_is_started_again_at_once(on: Scene) -> None:
    on.runtime.behaves = always(Behaviour(exits_after=601))
    on.create(replicas=1)
    on.workloads.turn(on.clock, 2420, tick=2)
    assert on.workloads.kubelet.counts["restarted"] == 4
    assert is_ready(on.pods()[0])


def test_a_pod_is_ready_when_each_of_its_containers_is_and_each_starts_again_by_itself(on: Scene) -> None:
    on.runtime.behaves = lambda pod, environment: (
        Behaviour(exits_after=3) if "SIDE" in environment else Behaviour(ready_after=1)
    )
    on.create(replicas=1)
    side = {"name": "side", "image": "side:1", "env": [{"name": "SIDE", "value": "1"}]}
    on.patch({"spec": {"template": {"spec": {"containers": [side]}}}})
    on.turn(5)
    pod = next(each for each in on.pods() if len(each["spec"]["containers"]) == 2)
    told = {each["name"]: each for each in pod["status"]["containerStatuses"]}
    assert (told["side"]["restartCount"], told["litellm"]["restartCount"]) == (1, 0)
    on.turn(2)
    pod = next(each for each in on.pods() if len(each["spec"]["containers"]) == 2)
    told = {each["name"]: each for each in pod["status"]["containerStatuses"]}
    assert told["litellm"]["ready"] and not told["side"]["ready"] and not is_ready(pod)


def test_a_pod_waits_for_its_secret(on: Scene) -> None:
    on.create(replicas=1)
    on.core.delete_namespaced_secret(KEYS, SPACE)
    on.turn(2)
    (pod,) = on.pods()
    assert pod["status"]["phase"] == "Pending"
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "CreateContainerConfigError"}}
    on.core.create_namespaced_secret(SPACE, {"metadata": {"name": KEYS}, "stringData": {"API_KEY": "v2"}})
    on.turn(2)
    assert is_ready(on.pods()[0])


def test_a_pod_that_ends_is_still_there_though_no_counter_but_one_tells_of_it(on: Scene) -> None:
    on.runtime.behaves = always(Behaviour(ends_after=60))
    on.create()
    on.turn(5)
    on.restart("2026-01-01T00:00:00Z")
    on.turn(4.5)
    told, ending = on.read()["status"], [each for each in on.pods() if "deletionTimestamp" in each["metadata"]]
    assert (on.progress(), told["replicas"], told["updatedReplicas"]) == ("NewReplicaSetAvailable", 2, 2)
    assert (len(ending), told["terminatingReplicas"]) == (2, 2)
    assert all(is_ready(each) for each in ending), "it may well serve"
    metadata = ending[0]["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 5
    on.turn(5)
    assert len(on.pods()) == 2, "its grace period is the most that it gets"


def test_a_patch_does_not_end_a_pod_that_is_ending(on: Scene) -> None:
    on.runtime.behaves = always(Behaviour(ends_after=60))
    on.create(replicas=1)
    on.turn(3)
    name = on.pods()[0]["metadata"]["name"]
    on.core.delete_namespaced_pod(name, SPACE)
    on.core.patch_namespaced_pod(name, SPACE, {"metadata": {"annotations": {"a": "b"}}})
    assert on.core.read_namespaced_pod(name, SPACE).metadata.deletion_timestamp
    on.core.delete_namespaced_pod(name, SPACE, grace_period_seconds=0)
    assert refused(lambda: on.core.read_namespaced_pod(name, SPACE)).status == 404
    on.turn(3)
    assert [is_ready(each) for each in on.pods()] == [True], "another one is in its place"


def test_a_pod_that_was_evicted_stays_as_an_object_and_is_counted_by_nobody(on: Scene) -> None:
    on.create()
    on.turn(5)
    on.workloads.kubelet.evict(SPACE, on.pods()[0]["metadata"]["name"])
    on.turn(5)
    assert sorted(each["status"]["phase"] for each in on.pods()) == ["Failed", "Running", "Running"]
    assert on.read()["status"]["readyReplicas"] == 2


def test_a_silent_node_keeps_its_pods_ending_and_others_take_their_place(on: Scene) -> None:
    on.workloads = Workloads(on.double.cluster, on.runtime, ["one", "two"])
    on.create()
    on.turn(5)
    assert {each["spec"]["nodeName"] for each in on.pods()} == {"one", "two"}
    on.workloads.nodes.silence("one")
    on.turn(39)
    assert all(is_ready(each) for each in on.pods()), "nobody knows yet"
    on.turn(2)
    assert sorted(is_ready(each) for each in on.pods()) == [False, True]
    on.workloads.turn(on.clock, 310, tick=5)
    (gone,) = (each for each in on.pods() if "deletionTimestamp" in each["metadata"])
    assert gone["spec"]["nodeName"] == "one" and len(live(on.pods())) == 2
    on.workloads.turn(on.clock, 600, tick=60)
    assert len(on.pods()) == 3, "nobody says that it has ended"
    on.workloads.nodes.wake("one")
    on.turn(1)
    assert len(on.pods()) == 2 and all(is_ready(each) for each in on.pods())


def test_a_pod_that_is_deleted_by_force_runs_on_where_its_node_is_silent(on: Scene) -> None:
    on.create(replicas=1)
    on.turn(5)
    on.workloads.nodes.silence("mini-0")
    on.core.delete_namespaced_pod(on.pods()[0]["metadata"]["name"], SPACE, grace_period_seconds=0)
    on.turn(5)
    assert on.workloads.kubelet.counts["ended"] == 0, "its object is gone, and it serves with the key that it has"
    on.workloads.nodes.wake("mini-0")
    on.turn(1)
    assert on.workloads.kubelet.counts["ended"] == 1


def test_why_no_pod_can_be_made_stands_in_a_condition_until_they_can(on: Scene) -> None:
    on.create()
    on.turn(5)
    on.workloads.replica_sets.refusing = "exceeded quota: pods"
    on.restart("2026-01-01T00:00:00Z")
    on.turn(2)
    (failure,) = (each for each in on.read()["status"]["conditions"] if each["type"] == "ReplicaFailure")
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert "is forbidden: exceeded quota: pods" in failure["message"]
    on.turn(10)
    assert on.progress() == "ProgressDeadlineExceeded" and on.read()["status"]["readyReplicas"] == 2
    on.workloads.replica_sets.refusing = ""
    on.turn(10)
    assert on.progress() == "NewReplicaSetAvailable", "a deadline that is over does not end a rollout"
    assert not [each for each in on.read()["status"]["conditions"] if each["type"] == "ReplicaFailure"]


def test_the_deadline_is_counted_from_the_last_progress(on: Scene) -> None:
    on.create()
    on.turn(5)
    on.set_key("bad")
    on.restart("2026-01-01T00:00:00Z")
    on.turn(8)
    assert on.progress() == "ReplicaSetUpdated"
    on.turn(1)
    assert on.progress() == "ProgressDeadlineExceeded"


# Objects ----------------------------------------------------------------------------------------------------------------


def test_what_a_deployment_owns_goes_with_it(on: Scene) -> None:
    on.create()
    on.turn(5)
    on.apps.delete_namespaced_deployment(NAME, SPACE)
    on.turn(1)
    assert on.pods() == [] and on.double.cluster.list(REPLICA_SETS)[0] == []


def test_an_orphan_is_not_made(on: Scene) -> None:
    on.create()
    assert refused(lambda: on.apps.delete_namespaced_deployment(NAME, SPACE, propagation_policy="Orphan")).status == 400
    assert (
        refused(lambda: on.apps.delete_namespaced_deployment(NAME, SPACE, body={"propagationPolicy": "Orphan"})).status
        == 400
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"selector": None}, "spec.selector"),
        ({"selector": {"matchLabels": {"app": "z"}}}, "spec.template.metadata.labels"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, "spec.strategy.rollingUpdate"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            "spec.strategy.rollingUpdate.maxUnavailable",
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": "x"}}}, "spec.strategy.rollingUpdate.maxSurge"),
        ({"strategy": {"type": "Blue"}}, "spec.strategy.type"),
        ({"minReadySeconds": 8}, "spec.progressDeadlineSeconds"),
        ({"template": {"metadata": {"labels": {"app": "l"}}}}, "spec.template.spec.containers"),
    ],
)
def test_what_is_invalid_is_told_with_its_field(changed: dict[str, Any], field: str, on: Scene) -> None:
    sent = deployment(**changed)
    url = f"{on.double.url}/apis/apps/v1/namespaces/{SPACE}/deployments"
    answer = httpx.post(url, json=sent, headers={"Authorization": f"Bearer {on.double.admin_token}"})
    assert (answer.status_code, [each["field"] for each in answer.json()["details"]["causes"]]) == (422, [field])


def test_what_no_number_is_a_bad_request(on: Scene) -> None:
    url = f"{on.double.url}/apis/apps/v1/namespaces/{SPACE}/deployments"
    headers = {"Authorization": f"Bearer {on.double.admin_token}"}
    assert httpx.post(url, json=deployment(replicas="2"), headers=headers).status_code == 400


def test_a_strategic_merge_changes_one_variable_of_one_container_and_a_merge_replaces_the_list(on: Scene) -> None:
    on.create()
    container = {"name": "litellm", "env": [{"name": "A", "value": "1"}]}
    on.patch({"spec": {"template": {"spec": {"containers": [container]}}}})
    container["env"] = [{"name": "B", "value": "2"}]
    found = on.plain(on.patch({"spec": {"template": {"spec": {"containers": [container]}}}}))
    (merged,) = found["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in merged["env"]] == ["A", "B"] and merged["image"] == "local/litellm"
    headers = {"Authorization": f"Bearer {on.double.admin_token}", "Content-Type": "application/merge-patch+json"}
    url = f"{on.double.url}/apis/apps/v1/namespaces/{SPACE}/deployments/{NAME}"
    note = {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}
    assert httpx.patch(url, json=note, headers=headers).json()["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    whole = {"spec": {"template": {"spec": {"containers": [container]}}}}
    assert httpx.patch(url, json=whole, headers=headers).status_code == 422, "without its image it is no container"


def test_a_patch_that_changes_nothing_raises_no_generation(on: Scene) -> None:
    on.create()
    on.restart("2026-01-01T00:00:00Z")
    before = on.read()["metadata"]
    on.restart("2026-01-01T00:00:00Z")
    after = on.read()["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])


def test_nobody_writes_a_status_but_its_controller(on: Scene) -> None:
    on.create()
    on.turn(5)
    told = on.read()["status"]
    on.patch({"status": {"observedGeneration": 99, "readyReplicas": 0}})
    assert on.read()["status"] == told


def test_a_controller_does_not_overwrite_what_somebody_has_changed_meanwhile(on: Scene) -> None:
    on.create()
    seen = on.double.cluster.get(DEPLOYMENTS, SPACE, NAME)
    on.patch({"metadata": {"annotations": {"theirs": "1"}}})
    with pytest.raises(RefusedError):
        on.double.cluster.write_parts(DEPLOYMENTS, seen, {"metadata": seen["metadata"]})
    on.turn(5)
    assert on.read()["metadata"]["annotations"]["theirs"] == "1" and on.progress() == "NewReplicaSetAvailable"


def test_a_budget_is_an_object(on: Scene) -> None:
    url = f"{on.double.url}/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
    headers = {"Authorization": f"Bearer {on.double.admin_token}"}
    sent = {"metadata": {"name": "litellm"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "l"}}}}
    assert httpx.post(url, json=sent, headers=headers).status_code == 201
    assert httpx.get(f"{url}/litellm", headers=headers).json()["spec"] == sent["spec"]


def test_faults_and_counts_are_those_of_any_object(on: Scene) -> None:
    on.create()
    on.double.inject("patch deployments", Kind.CONFLICT)
    assert refused(lambda: on.restart("2026-01-01T00:00:00Z")).status == 409
    on.restart("2026-01-01T00:00:00Z")
    assert on.double.calls["patch deployments"] == 2


def test_a_watch_of_who_may_no_more_than_that_tells_of_a_rollout_to_its_end(on: Scene) -> None:
    on.create()
    on.turn(5)
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]}]
    made = client.Configuration(host=on.double.url)
    made.api_key["BearerToken"] = f"Bearer {on.double.account('watcher', rules, namespace=SPACE)}"
    its: Any = client.AppsV1Api(client.ApiClient(made))
    since = its.list_namespaced_deployment(SPACE).metadata.resource_version
    on.restart("2026-01-01T00:00:00Z")
    on.turn(10)
    seen: list[Any] = []
    watching: Any = watch
    for event in watching.Watch().stream(its.list_namespaced_deployment, SPACE, resource_version=since, timeout_seconds=30):
        status = event["object"].status
        seen.append((status.observed_generation, status.updated_replicas))
        if status.observed_generation == 2 and "NewReplicaSetAvailable" in [each.reason for each in status.conditions]:
            break
    assert seen[:3] == [(1, 2), (1, 2), (2, None)], "the counters of before, twice, and then none"
    assert seen[-1] == (2, 2)


# In real time -----------------------------------------------------------------------------------------------------------


def test_in_real_time_they_move_by_themselves_and_are_told_over_http() -> None:
    with KubernetesDouble(namespaces=[SPACE], further=WORKLOADS) as double:
        runtime = Played(double.cluster.now)
        workloads = Workloads(double.cluster, runtime)
        double.controls["workloads"] = WorkloadControl(workloads, runtime)
        control = f"{double.url}/_double/workloads"
        for told in ({"behaviour": {"ready_after": 0}}, {"behaviour": {"ready_after": None}, "where": {"API_KEY": "bad"}}):
            assert httpx.post(control, json=told).status_code == 200
        for wrong in ({"behaviour": {"no": 1}}, {"nothing": 1}, {"evict": [SPACE, "nobody"]}):
            assert httpx.post(control, json=wrong).status_code == 400
        headers = {"Authorization": f"Bearer {double.admin_token}"}
        secret = {"metadata": {"name": KEYS}, "stringData": {"API_KEY": "v1"}}
        httpx.post(f"{double.url}/api/v1/namespaces/{SPACE}/secrets", json=secret, headers=headers)
        url = f"{double.url}/apis/apps/v1/namespaces/{SPACE}/deployments"
        httpx.post(url, json=deployment(minReadySeconds=0), headers=headers)
        with workloads.moving():
            for _ in range(2000):  # no test of speed: it only ends at some time
                if httpx.get(f"{url}/{NAME}", headers=headers).json()["status"].get("availableReplicas") == 2:
                    break
                time.sleep(0.05)
            assert httpx.get(control).json()["started"] == 2
        assert workloads.kubelet.counts["ended"] == 2, "nothing runs when they stand still again"


def test_moments_are_whole_seconds(on: Scene) -> None:
    on.clock.turn(0.75)
    made = on.plain(on.create())["metadata"]["creationTimestamp"]
    assert moment_of(made.replace("+00:00", "Z")).microsecond == 0
