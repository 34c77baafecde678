"""Budgets of disruption in the Kubernetes double: how many pods may be evicted now, and the eviction that asks for one.

After the pages "Specifying a Disruption Budget for your Application" and "API-initiated Eviction" of kubernetes.io; **not
compared with a real server**. Percentages are rounded up. What deletes pods without asking, as a rollout does, keeps to no
budget.
"""

from __future__ import annotations

import math

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_deployments import DEPLOYMENTS, amount
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import controller_of
from keyturn.testing.kubernetes_pods import DISRUPTION_BUDGETS, PODS, is_ending, is_finished, ready_since
from keyturn.testing.kubernetes_refusals import Object, RefusedError, status
from keyturn.testing.kubernetes_replica_sets import REPLICA_SETS
from keyturn.testing.kubernetes_stateful_sets import STATEFUL_SETS

_AFTER = 10  # seconds


def sync(cluster: Cluster, budget: Object) -> None:
    """Tell what is allowed. RefusedError: it has changed meanwhile."""
    pods = [pod for pod in _meant(cluster, budget) if not is_finished(pod)]
    healthy = sum(ready_since(pod) is not None and not is_ending(pod) for pod in pods)
    spec, expected = budget["spec"], len(pods)
    if "maxUnavailable" in spec or isinstance(spec.get("minAvailable"), str):
        expected = _expected(cluster, pods)
    if "maxUnavailable" in spec:
        desired = max(0, expected - amount(spec["maxUnavailable"], expected, math.ceil))
    else:
        desired = amount(spec.get("minAvailable", 1), expected, math.ceil)
    allowed = max(0, healthy - desired) if expected else 0
    told = {
        "conditions": [_condition(budget, allowed, cluster)],
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"]["generation"],
    }
    cluster.write_parts(DISRUPTION_BUDGETS, budget, {"status": told})


def spend(cluster: Cluster, pod: Object) -> None:
    """Take one of what the pod's budget allows. RefusedError (429) where it allows none."""
    if is_finished(pod) or is_ending(pod) or pod["status"]["phase"] == "Pending":
        return
    budgets = cluster.list(DISRUPTION_BUDGETS, pod["metadata"]["namespace"])[0]
    about = [each for each in budgets if _is_meant(each, pod)]
    if len(about) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise RefusedError(500, status(500, "InternalError", message))
    for budget in about:
        told = budget["status"]
        if told.get("observedGeneration", 0) < budget["metadata"]["generation"]:
            raise _refused("The disruption budget is still being processed by the server.")
        if ready_since(pod) is None and _lets_unready_go(budget):
            return
        if told["disruptionsAllowed"] <= 0:
            name, wanted, there = budget["metadata"]["name"], told["desiredHealthy"], told["currentHealthy"]
            raise _refused(f"The disruption budget {name} needs {wanted} healthy pods and has {there} currently")
        disrupted = {**told.get("disruptedPods", {}), pod["metadata"]["name"]: stamp(cluster.now())}
        left = {**told, "disruptionsAllowed": told["disruptionsAllowed"] - 1, "disruptedPods": disrupted}
        cluster.write_parts(DISRUPTION_BUDGETS, budget, {"status": left})


def _lets_unready_go(budget: Object) -> bool:
    told = budget["status"]
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    return bool(told["currentHealthy"] >= told["desiredHealthy"] > 0)


def _refused(why: str) -> RefusedError:
    causes = [{"reason": "DisruptionBudget", "message": why}]
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    details = {"causes": causes, "retryAfterSeconds": _AFTER}
    return RefusedError(429, status(429, "TooManyRequests", message, details), {"Retry-After": str(_AFTER)})


def _condition(budget: Object, allowed: int, cluster: Cluster) -> Object:
    new = {
        "message": "",
        "observedGeneration": budget["metadata"]["generation"],
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "status": str(allowed > 0),
        "type": "DisruptionAllowed",
    }
    had: Object = next(iter(budget["status"].get("conditions", [])), {})
    since = had["lastTransitionTime"] if had.get("status") == new["status"] else stamp(cluster.now())
    return {**new, "lastTransitionTime": since}


def _meant(cluster: Cluster, budget: Object) -> list[Object]:
    return [pod for pod in cluster.list(PODS, budget["metadata"]["namespace"])[0] if _is_meant(budget, pod)]


def _is_meant(budget: Object, pod: Object) -> bool:
    """An empty selector means all pods; none at all, no pod."""
    selector = budget["spec"].get("selector")
    labels = pod["metadata"].get("labels", {})
    return selector is not None and selector.get("matchLabels", {}).items() <= labels.items()


def _expected(cluster: Cluster, pods: list[Object]) -> int:
    """How many pods their controllers want, or how many there are of those without one that can be scaled."""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = _scaled_owner(cluster, pod)
        wanted[owner["metadata"]["uid"] if owner else pod["metadata"]["uid"]] = owner["spec"]["replicas"] if owner else 1
    return sum(wanted.values())


def _scaled_owner(cluster: Cluster, pod: Object) -> Object | None:
    space, found = pod["metadata"]["namespace"], None
    for resource in (STATEFUL_SETS, REPLICA_SETS, DEPLOYMENTS):
        uid = controller_of(found or pod)
        found = next((each for each in cluster.list(resource, space)[0] if each["metadata"]["uid"] == uid), found)
    return found
