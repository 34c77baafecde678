"""Scales, evictions and statuses of the Kubernetes double, as the official client asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from keyturn.testing.kubernetes_containers import Behaviour
from tests.testing.rollout_scene import NAME, SPACE, Scene, scene

apis: Any = client


@pytest.fixture
def on() -> Iterator[Scene]:
    with scene() as made:
        made.create()
        made.turn(5)
        yield made


def refused(call: Callable[[], object]) -> Any:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def scale(on: Scene, replicas: Any) -> Any:
    return on.apps.patch_namespaced_deployment_scale(NAME, SPACE, {"spec": {"replicas": replicas}})


def budget(on: Scene, **spec: Any) -> Any:
    policies = apis.PolicyV1Api(on.core.api_client)
    sent = {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": {"app": "l"}}, **spec}}
    made = policies.create_namespaced_pod_disruption_budget(SPACE, sent)
    on.turn(0)
    return made


def told(on: Scene) -> Any:
    return apis.PolicyV1Api(on.core.api_client).read_namespaced_pod_disruption_budget("b", SPACE).status


def evict(on: Scene, name: str) -> Any:
    eviction = {"metadata": {"name": name, "namespace": SPACE}}
    return on.core.create_namespaced_pod_eviction(name, SPACE, eviction)


def names(on: Scene) -> list[str]:
    return [each["metadata"]["name"] for each in on.pods() if "deletionTimestamp" not in each["metadata"]]


# Scales -----------------------------------------------------------------------------------------------------------------


def test_a_scale_tells_the_size_and_is_the_way_to_change_it(on: Scene) -> None:
    read = on.apps.read_namespaced_deployment_scale(NAME, SPACE)
    assert (read.spec.replicas, read.status.replicas, read.status.selector) == (2, 2, "app=l")
    assert scale(on, 3).spec.replicas == 3
    on.turn(5)
    assert len(on.pods()) == 3
    read = on.apps.read_namespaced_deployment_scale(NAME, SPACE)
    read.spec.replicas = 1
    on.apps.replace_namespaced_deployment_scale(NAME, SPACE, read)
    assert refused(lambda: on.apps.replace_namespaced_deployment_scale(NAME, SPACE, read)).status == 409, "it is of before"
    on.turn(5)
    assert len(on.pods()) == 1


def test_a_scale_to_nothing_leaves_the_size_out(on: Scene) -> None:
    assert scale(on, 0).spec.replicas is None
    on.turn(5)
    assert on.pods() == []


def test_a_scale_keeps_the_rights_and_the_rules(on: Scene) -> None:
    assert refused(lambda: scale(on, -1)).status == 422
    assert refused(lambda: on.apps.read_namespaced_deployment_scale("absent", SPACE)).status == 404
    rules = [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}]
    made = client.Configuration(host=on.double.url)
    made.api_key["BearerToken"] = f"Bearer {on.double.account('scaler', rules, namespace=SPACE)}"
    its = apis.AppsV1Api(client.ApiClient(made))
    assert its.read_namespaced_deployment_scale(NAME, SPACE).spec.replicas == 2
    assert refused(lambda: its.read_namespaced_deployment(NAME, SPACE)).status == 403
    assert refused(lambda: its.patch_namespaced_deployment_scale(NAME, SPACE, {"spec": {"replicas": 1}})).status == 403


# Evictions --------------------------------------------------------------------------------------------------------------


def test_an_eviction_that_its_budget_does_not_allow_is_refused_and_the_pod_stays(on: Scene) -> None:
    made = budget(on, minAvailable=2)
    assert (made.status.disruptions_allowed, made.metadata.generation) == (0, 1)
    before = names(on)
    error = refused(lambda: evict(on, before[0]))
    assert (error.status, error.headers["Retry-After"]) == (429, "10")
    assert "needs 2 healthy pods and has 2 currently" in error.body
    assert names(on) == before
    assert [(each.type, each.status, each.reason) for each in told(on).conditions] == [
        ("DisruptionAllowed", "False", "InsufficientPods")
    ]


@pytest.mark.parametrize(
    "spec", [{"minAvailable": 1}, {"maxUnavailable": 1}, {"maxUnavailable": "50%"}, {"minAvailable": "1%"}]
)
def test_what_a_budget_allows_is_spent_by_the_first_and_comes_back_with_the_next(spec: dict[str, Any], on: Scene) -> None:
    on.runtime.behaves = lambda pod, environment: Behaviour(ends_after=2)
    budget(on, **spec)
    assert (told(on).disruptions_allowed, told(on).expected_pods, told(on).desired_healthy) == (1, 2, 1)
    first, second = names(on)
    assert evict(on, first).kind == "Status"
    assert refused(lambda: evict(on, second)).status == 429, "before anybody has looked again"
    on.turn(0.5)
    assert told(on).current_healthy == 1
    assert refused(lambda: evict(on, second)).status == 429
    on.turn(10)
    assert evict(on, second).kind == "Status"
    on.turn(10)
    assert len(names(on)) == 2 and not {first, second} & set(names(on))


def test_a_budget_that_was_changed_is_not_believed_before_it_was_looked_at(on: Scene) -> None:
    budget(on, minAvailable=1)
    policies = apis.PolicyV1Api(on.core.api_client)
    policies.patch_namespaced_pod_disruption_budget("b", SPACE, {"spec": {"minAvailable": 2}})
    assert refused(lambda: evict(on, names(on)[0])).status == 429
    on.turn(0)
    assert told(on).desired_healthy == 2


def test_a_pod_that_is_not_ready_goes_where_the_others_are_enough(on: Scene) -> None:
    on.runtime.behaves = lambda pod, environment: Behaviour(ready_after=None)
    on.core.delete_namespaced_pod(names(on)[0], SPACE)
    on.turn(3)
    budget(on, minAvailable=1)
    (unready,) = (each for each in on.pods() if not each["status"]["containerStatuses"][0]["ready"])
    (ready,) = set(names(on)) - {unready["metadata"]["name"]}
    assert refused(lambda: evict(on, ready)).status == 429
    assert evict(on, unready["metadata"]["name"]).kind == "Status"


def test_without_a_budget_every_pod_may_be_evicted_and_with_two_none(on: Scene) -> None:
    assert evict(on, names(on)[0]).kind == "Status"
    on.turn(5)
    budget(on, minAvailable=0)
    policies = apis.PolicyV1Api(on.core.api_client)
    other = {"metadata": {"name": "c"}, "spec": {"minAvailable": 0, "selector": {"matchLabels": {"app": "l"}}}}
    policies.create_namespaced_pod_disruption_budget(SPACE, other)
    on.turn(0)
    assert refused(lambda: evict(on, names(on)[0])).status == 500
    assert refused(lambda: evict(on, "absent")).status == 404


# Statuses ---------------------------------------------------------------------------------------------------------------


def test_a_status_is_written_where_it_stands_and_nothing_else_is(on: Scene) -> None:
    name = names(on)[0]
    patch = {"metadata": {"labels": {"app": "other"}}, "status": {"message": "told"}}
    answer = on.core.patch_namespaced_pod_status(name, SPACE, patch)
    assert (answer.status.message, answer.metadata.labels["app"], answer.status.phase) == ("told", "l", "Running")
    assert on.core.read_namespaced_pod_status(name, SPACE).status.message == "told"
