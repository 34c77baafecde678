"""StatefulSets and DaemonSets of the Kubernetes double, by what Kubernetes' pages say: the official client reads it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from keyturn.kubernetes.pods import mark_name
from keyturn.kubernetes.rollout import Kind, State, judge
from keyturn.testing.kubernetes_containers import Behaviour
from keyturn.testing.kubernetes_pods import PODS
from keyturn.testing.kubernetes_workloads import Workloads
from tests.testing.rollout_scene import KEYS, SPACE, Scene, scene

CREDENTIAL = "openai"
MARK = mark_name(CREDENTIAL)

LABELS = {"app": "s"}
NODES = ("a", "b", "c", "d")


@pytest.fixture
def on() -> Iterator[Scene]:
    with scene() as made:
        made.core.create_namespaced_secret(SPACE, {"metadata": {"name": KEYS}, "stringData": {"API_KEY": "v1"}})
        made.workloads = Workloads(made.double.cluster, made.runtime, NODES)
        yield made


def workload(**spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i:1", "envFrom": [{"secretRef": {"name": KEYS}}]}
    template = {"metadata": {"labels": LABELS}, "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]}}
    return {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": LABELS}, "template": template, **spec}}


def stateful_set(on: Scene, replicas: int = 3, **spec: Any) -> Any:
    return on.apps.create_namespaced_stateful_set(SPACE, workload(serviceName="s", replicas=replicas, **spec))


def daemon_set(on: Scene, **rolling: Any) -> Any:
    spec = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}} if rolling else {}
    return on.apps.create_namespaced_daemon_set(SPACE, workload(**spec))


def marked(value: str) -> dict[str, Any]:
    return {"spec": {"template": {"metadata": {"annotations": {MARK: value}}}}}


def mark_stateful_set(on: Scene, value: str) -> Any:
    return on.apps.patch_namespaced_stateful_set("w", SPACE, marked(value))


def mark_daemon_set(on: Scene, value: str) -> Any:
    return on.apps.patch_namespaced_daemon_set("w", SPACE, marked(value))


def by_name(on: Scene) -> dict[str, Any]:
    return {each.metadata.name: each for each in on.core.list_namespaced_pod(SPACE).items}


def marks(on: Scene) -> dict[str, str | None]:
    return {name: (pod.metadata.annotations or {}).get(MARK) for name, pod in by_name(on).items()}


def is_ready(pod: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def judged(on: Scene, kind: Kind, told: Any, mark: str) -> State:
    pods = [on.plain(each) for each in on.core.list_namespaced_pod(SPACE).items]
    return judge(kind, on.plain(told), pods, CREDENTIAL, mark).state


def refused(call: Callable[[], object]) -> int:
    with pytest.raises(ApiException) as caught:
        call()
    return int(caught.value.status)


def until(on: Scene, is_so: Callable[[], bool], seconds: float = 120) -> None:
    for _ in range(int(seconds * 4)):
        if is_so():
            return
        on.turn(0.25)
    raise AssertionError("it did not come to that")


# StatefulSets -----------------------------------------------------------------------------------------------------------


def test_pods_are_made_one_after_another_and_each_is_waited_for(on: Scene) -> None:
    made = stateful_set(on)
    assert made.spec.update_strategy.rolling_update.partition == 0
    assert (made.spec.pod_management_policy, made.metadata.generation, made.status.replicas) == ("OrderedReady", 1, 0)
    on.turn(0.5)
    assert sorted(by_name(on)) == ["w-0"]
    on.turn(1)
    assert sorted(by_name(on)) == ["w-0", "w-1"]
    on.turn(3)
    pods = by_name(on)
    told = on.apps.read_namespaced_stateful_set("w", SPACE).status
    assert sorted(pods) == ["w-0", "w-1", "w-2"]
    assert (told.replicas, told.ready_replicas, told.current_replicas, told.updated_replicas) == (3, 3, 3, 3)
    assert (told.available_replicas, told.observed_generation, told.collision_count) == (3, 1, 0)
    assert told.current_revision == told.update_revision
    labels = pods["w-2"].metadata.labels
    assert labels["controller-revision-hash"] == told.update_revision
    assert (labels["statefulset.kubernetes.io/pod-name"], labels["apps.kubernetes.io/pod-index"]) == ("w-2", "2")
    assert (pods["w-2"].spec.hostname, pods["w-2"].spec.subdomain) == ("w-2", "s")
    (revision,) = on.apps.list_namespaced_controller_revision(SPACE).items
    assert (revision.metadata.name, revision.revision) == (told.update_revision, 1)


def test_without_order_they_are_made_at_once(on: Scene) -> None:
    stateful_set(on, podManagementPolicy="Parallel")
    on.turn(0.5)
    assert len(by_name(on)) == 3


def test_a_restart_replaces_one_after_another_from_above_and_is_done_only_in_the_end(on: Scene) -> None:
    stateful_set(on)
    on.turn(5)
    answer = mark_stateful_set(on, "m")
    assert (answer.metadata.generation, answer.status.observed_generation, answer.status.updated_replicas) == (2, 1, 3)
    assert judged(on, Kind.STATEFUL_SET, answer, "m") is State.ROLLING, "the counters of before look finished"
    began, order, seen = on.double.cluster.number, [], []
    while True:
        told = on.apps.read_namespaced_stateful_set("w", SPACE)
        ready = [name for name, pod in by_name(on).items() if is_ready(pod)]
        assert len(ready) >= 2
        state = judged(on, Kind.STATEFUL_SET, told, "m")
        whole = set(marks(on).values()) == {"m"} and len(ready) == 3 == len(by_name(on))
        assert (state is State.DONE) <= whole
        seen.append((told.status.current_revision, told.status.update_revision))
        if state is State.DONE:
            break
        on.turn(0.25)
    for event in on.double.cluster.events(PODS, began):
        if event.kind == "DELETED":
            order.append(event.after["metadata"]["name"])
    assert order == ["w-2", "w-1", "w-0"]
    assert told.status.current_revision == told.status.update_revision
    assert any(current != update for current, update in seen), "two revisions while it rolls"
    assert told.status.current_replicas == told.status.updated_replicas == 3
    assert [each.revision for each in on.apps.list_namespaced_controller_revision(SPACE).items].count(2) == 1


def test_below_its_partition_nothing_changes_also_when_a_pod_is_made_anew(on: Scene) -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    stateful_set(on, updateStrategy=partition)
    on.turn(5)
    mark_stateful_set(on, "m")
    on.turn(20)
    assert marks(on) == {"w-0": None, "w-1": "m", "w-2": "m"}
    told = on.apps.read_namespaced_stateful_set("w", SPACE).status
    assert (told.current_replicas, told.updated_replicas) == (1, 2) and told.current_revision != told.update_revision
    on.core.delete_namespaced_pod("w-0", SPACE)
    on.turn(5)
    assert marks(on)["w-0"] is None and is_ready(by_name(on)["w-0"])
    on.apps.patch_namespaced_stateful_set("w", SPACE, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    on.turn(10)
    assert set(marks(on).values()) == {"m"}


def test_what_is_replaced_on_delete_alone_waits_for_it(on: Scene) -> None:
    stateful_set(on, updateStrategy={"type": "OnDelete"})
    on.turn(5)
    mark_stateful_set(on, "m")
    on.turn(30)
    assert set(marks(on).values()) == {None}
    told = on.apps.read_namespaced_stateful_set("w", SPACE)
    assert told.status.observed_generation == 2 and told.status.updated_replicas is None, "no counter that is 0 is told"
    assert judged(on, Kind.STATEFUL_SET, told, "m") is State.HELD
    for name in ("w-0", "w-1", "w-2"):
        on.core.delete_namespaced_pod(name, SPACE)
        on.turn(3)
    assert set(marks(on).values()) == {"m"}
    told = on.apps.read_namespaced_stateful_set("w", SPACE).status
    assert told.updated_replicas == 3 and told.current_revision != told.update_revision


def test_a_template_that_is_never_ready_stops_it_until_a_person_deletes_the_pod(on: Scene) -> None:
    stateful_set(on)
    on.turn(5)
    on.runtime.behaves = lambda pod, environment: Behaviour(
        ready_after=None if pod["metadata"].get("annotations", {}).get(MARK) == "bad" else 1.0
    )
    mark_stateful_set(on, "bad")
    on.turn(60)
    assert marks(on) == {"w-0": None, "w-1": None, "w-2": "bad"}
    mark_stateful_set(on, "good")
    on.turn(60)
    assert marks(on)["w-2"] == "bad", "the template is mended, the pod is not"
    on.core.delete_namespaced_pod("w-2", SPACE)
    on.turn(20)
    assert set(marks(on).values()) == {"good"}


def test_more_than_one_may_be_away_where_it_says_so(on: Scene) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}
    stateful_set(on, replicas=4, podManagementPolicy="Parallel", updateStrategy=strategy)
    on.turn(5)
    mark_stateful_set(on, "m")
    on.turn(0.5)
    assert marks(on) == {"w-0": None, "w-1": None, "w-2": "m", "w-3": "m"}


def test_it_shrinks_from_above_and_grows_from_below(on: Scene) -> None:
    stateful_set(on, ordinals={"start": 5})
    on.turn(5)
    assert sorted(by_name(on)) == ["w-5", "w-6", "w-7"]
    on.apps.patch_namespaced_stateful_set("w", SPACE, {"spec": {"replicas": 1}})
    on.turn(5)
    assert sorted(by_name(on)) == ["w-5"]
    assert on.apps.read_namespaced_stateful_set("w", SPACE).status.replicas == 1


def test_a_template_that_comes_back_is_its_old_revision_with_a_new_number(on: Scene) -> None:
    stateful_set(on, replicas=1, revisionHistoryLimit=1)
    on.turn(3)
    first = on.apps.read_namespaced_stateful_set("w", SPACE).status.update_revision
    mark_stateful_set(on, "m")
    on.turn(5)
    on.apps.patch_namespaced_stateful_set("w", SPACE, marked(None))  # type: ignore[arg-type]
    on.turn(5)
    assert on.apps.read_namespaced_stateful_set("w", SPACE).status.update_revision == first
    revisions = on.apps.list_namespaced_controller_revision(SPACE).items
    assert {each.metadata.name: each.revision for each in revisions}[first] == 3
    for mark in ("n", "o", "p"):
        mark_stateful_set(on, mark)
        on.turn(5)
    assert len(on.apps.list_namespaced_controller_revision(SPACE).items) == 2, "the newest, and one of the history"


def test_what_is_deleted_takes_its_pods_and_its_history_along(on: Scene) -> None:
    stateful_set(on)
    on.turn(5)
    on.apps.delete_namespaced_stateful_set("w", SPACE)
    on.turn(1)
    assert by_name(on) == {} and on.apps.list_namespaced_controller_revision(SPACE).items == []


@pytest.mark.parametrize(
    "changed",
    [
        {"serviceName": "other"},
        {"podManagementPolicy": "Parallel"},
        {"updateStrategy": {"type": "Blue"}},
        {"updateStrategy": {"rollingUpdate": {"partition": -1}}},
        {"replicas": -1},
        {"template": {"spec": {"restartPolicy": "Never"}}},
    ],
)
def test_what_a_stateful_set_cannot_become_is_refused(changed: dict[str, Any], on: Scene) -> None:
    stateful_set(on)
    assert refused(lambda: on.apps.patch_namespaced_stateful_set("w", SPACE, {"spec": changed})) == 422


# DaemonSets -------------------------------------------------------------------------------------------------------------


def test_each_node_has_one_pod_and_the_counters_tell_of_nodes(on: Scene) -> None:
    made = daemon_set(on)
    rolling = made.spec.update_strategy.rolling_update
    assert (rolling.max_surge, rolling.max_unavailable, made.status.desired_number_scheduled) == (0, 1, 0)
    on.turn(3)
    assert sorted(each.spec.node_name for each in by_name(on).values()) == list(NODES)
    told = on.apps.read_namespaced_daemon_set("w", SPACE).status
    assert (told.desired_number_scheduled, told.current_number_scheduled, told.number_ready) == (4, 4, 4)
    assert (told.updated_number_scheduled, told.number_available, told.number_unavailable) == (4, 4, None)
    assert (told.number_misscheduled, told.observed_generation) == (0, 1)
    (revision,) = on.apps.list_namespaced_controller_revision(SPACE).items
    for pod in by_name(on).values():
        assert revision.metadata.name == f"w-{pod.metadata.labels['controller-revision-hash']}"


@pytest.mark.parametrize(
    ("rolling", "least", "most"),
    [
        ({"maxUnavailable": 1}, 3, 4),
        ({"maxUnavailable": "30%"}, 2, 4),
        ({"maxUnavailable": 0, "maxSurge": 1}, 4, 5),
        ({"maxUnavailable": 0, "maxSurge": "50%"}, 4, 6),
    ],
)
def test_a_restart_keeps_to_what_may_be_away_and_to_its_surge(
    rolling: dict[str, Any], least: int, most: int, on: Scene
) -> None:
    daemon_set(on, **rolling)
    on.turn(3)
    answer = mark_daemon_set(on, "m")
    assert judged(on, Kind.DAEMON_SET, answer, "m") is State.ROLLING
    fewest, highest = 4, 0
    while True:
        told = on.apps.read_namespaced_daemon_set("w", SPACE)
        pods = [each for each in by_name(on).values() if each.metadata.deletion_timestamp is None]
        fewest, highest = min(fewest, len([each for each in pods if is_ready(each)])), max(highest, len(pods))
        if judged(on, Kind.DAEMON_SET, told, "m") is State.DONE:
            break
        on.turn(0.25)
    assert (fewest, highest) == (least, most)
    assert set(marks(on).values()) == {"m"} and len(by_name(on)) == 4
    assert told.status.updated_number_scheduled == 4


def test_a_pod_that_takes_its_time_to_end_keeps_its_node_from_the_next(on: Scene) -> None:
    on.runtime.behaves = lambda pod, environment: Behaviour(ends_after=3)
    daemon_set(on)
    on.turn(3)
    mark_daemon_set(on, "m")
    on.turn(2)
    (ending,) = (each for each in by_name(on).values() if each.metadata.deletion_timestamp is not None)
    others = [each for each in by_name(on).values() if each.spec.node_name == ending.spec.node_name]
    assert len(others) == 1
    assert on.apps.read_namespaced_daemon_set("w", SPACE).status.number_unavailable is None, "it is ready while it ends"


def test_a_daemon_set_on_delete_waits_for_it(on: Scene) -> None:
    on.apps.create_namespaced_daemon_set(SPACE, workload(updateStrategy={"type": "OnDelete"}))
    on.turn(3)
    mark_daemon_set(on, "m")
    on.turn(20)
    assert set(marks(on).values()) == {None}
    assert judged(on, Kind.DAEMON_SET, on.apps.read_namespaced_daemon_set("w", SPACE), "m") is State.HELD
    for name in by_name(on):
        on.core.delete_namespaced_pod(name, SPACE)
    on.turn(3)
    assert set(marks(on).values()) == {"m"} and len(by_name(on)) == 4


def test_a_silent_node_keeps_its_pod_and_is_counted_as_away(on: Scene) -> None:
    daemon_set(on)
    on.turn(3)
    on.workloads.nodes.silence("a")
    on.workloads.turn(on.clock, 600, tick=20)
    told = on.apps.read_namespaced_daemon_set("w", SPACE).status
    assert (told.desired_number_scheduled, told.current_number_scheduled, told.number_ready) == (4, 4, 3)
    assert told.number_unavailable == 1 and not [p for p in by_name(on).values() if p.metadata.deletion_timestamp]


def test_a_selector_of_nodes_is_kept_to(on: Scene) -> None:
    sent = workload()
    sent["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "b"}
    on.apps.create_namespaced_daemon_set(SPACE, sent)
    on.turn(3)
    assert [each.spec.node_name for each in by_name(on).values()] == ["b"]
    assert on.apps.read_namespaced_daemon_set("w", SPACE).status.desired_number_scheduled == 1


@pytest.mark.parametrize(
    "rolling", [{"maxUnavailable": 0}, {"maxUnavailable": 1, "maxSurge": 1}, {"maxUnavailable": "many"}]
)
def test_what_a_daemon_set_cannot_be_is_refused(rolling: dict[str, Any], on: Scene) -> None:
    assert refused(lambda: daemon_set(on, **rolling)) == 422
