"""What the controller of Deployments tells about one: its counters, and its conditions with their reasons. Pure.

Held to recordings, and after the page "Deployments" of kubernetes.io ("Deployment status"). Three things in it mislead:
a counter that is 0 is left out; `unavailableReplicas` counts pods that are wanted and not there yet; a deadline runs from
a moment whose fraction of a second was cut off, since that is how moments are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyturn.testing.kubernetes_clock import moment_of, stamp
from keyturn.testing.kubernetes_deployments import surge_and_unavailable
from keyturn.testing.kubernetes_refusals import Object

AVAILABLE, CREATED, UPDATED, TIMED_OUT = (
    "NewReplicaSetAvailable",
    "NewReplicaSetCreated",
    "ReplicaSetUpdated",
    "ProgressDeadlineExceeded",
)
FOUND, PAUSED, RESUMED = "FoundNewReplicaSet", "DeploymentPaused", "DeploymentResumed"
_NO_DEADLINE = 2**31 - 1


def condition(type: str, status: str, reason: str, message: str) -> Object:
    return {"type": type, "status": status, "reason": reason, "message": message}


def found(conditions: Sequence[Object], type: str) -> Object | None:
    return next((each for each in conditions if each["type"] == type), None)


def without(conditions: Sequence[Object], type: str) -> list[Object]:
    return [each for each in conditions if each["type"] != type]


def with_condition(conditions: Sequence[Object], new: Object, now: datetime) -> list[Object]:
    """It goes to the end, unless it says what was said before; its moment of transition is that of its status."""
    had = found(conditions, new["type"])
    if had is not None and (had["status"], had["reason"]) == (new["status"], new["reason"]):
        return list(conditions)
    return [*without(conditions, new["type"]), _stamped(new, had, now)]


def _stamped(new: Object, had: Object | None, now: datetime) -> Object:
    since = had["lastTransitionTime"] if had is not None and had["status"] == new["status"] else stamp(now)
    return {**new, "lastTransitionTime": since, "lastUpdateTime": stamp(now)}


def has_deadline(deployment: Object) -> bool:
    return bool(deployment["spec"]["progressDeadlineSeconds"] != _NO_DEADLINE)


def counted(deployment: Object, new: Object | None, old: Sequence[Object], now: datetime) -> Object:
    """The status with new counters, and with the condition Available."""
    sets = [*old, *([new] if new else [])]
    available = _sum(sets, "availableReplicas")
    counters = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": _sum(sets, "replicas"),
        "updatedReplicas": new["status"]["replicas"] if new else 0,
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(each["spec"]["replicas"] for each in sets) - available),
    }
    least = deployment["spec"]["replicas"] - surge_and_unavailable(deployment)[1]
    enough = condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    few = condition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    conditions = with_condition(deployment["status"].get("conditions", []), enough if available >= least else few, now)
    told = {name: number for name, number in counters.items() if number}
    return {**told, "terminatingReplicas": _sum(sets, "terminatingReplicas"), "conditions": conditions}


def _sum(sets: Sequence[Object], counter: str) -> int:
    return sum(int(each["status"].get(counter, 0)) for each in sets)


def progressed(deployment: Object, new: Object | None, old: Sequence[Object], now: datetime) -> Object:
    """The status during a rollout: counters, and how it goes on."""
    told = counted(deployment, new, old, now)
    conditions = told["conditions"]
    if not has_deadline(deployment):
        conditions = without(conditions, "Progressing")
    had = found(deployment["status"].get("conditions", []), "Progressing")
    ended = had is not None and had["reason"] == AVAILABLE and told.get("replicas", 0) == told.get("updatedReplicas", 0)
    if has_deadline(deployment) and not ended:
        named = deployment if new is None else new
        name = f'{named["kind"]} "{named["metadata"]["name"]}"'
        if is_complete(deployment, told):
            said = condition("Progressing", "True", AVAILABLE, f"{name} has successfully progressed.")
            conditions = with_condition(conditions, said, now)
        elif _has_moved(deployment["status"], told):
            said = condition("Progressing", "True", UPDATED, f"{name} is progressing.")
            conditions = [*without(conditions, "Progressing"), _stamped(said, had, now)]
        elif is_timed_out(deployment, now):
            said = condition("Progressing", "False", TIMED_OUT, f"{name} has timed out progressing.")
            conditions = with_condition(conditions, said, now)
    return {**told, "conditions": _with_failure(conditions, [*([new] if new else []), *old], now)}


def is_complete(deployment: Object, told: Object) -> bool:
    counters = ("updatedReplicas", "replicas", "availableReplicas")
    wanted = deployment["spec"]["replicas"]
    seen = told.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return seen and all(told.get(each, 0) == wanted for each in counters)


def _has_moved(had: Object, told: Object) -> bool:
    def old_ones(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_ones(told) < old_ones(had) or any(told.get(each, 0) > had.get(each, 0) for each in more)


def is_timed_out(deployment: Object, now: datetime) -> bool:
    had = found(deployment["status"].get("conditions", []), "Progressing")
    if had is None or had["reason"] == AVAILABLE:
        return False
    deadline = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return had["reason"] == TIMED_OUT or moment_of(had["lastUpdateTime"]) + deadline < now


def _with_failure(conditions: Sequence[Object], sets: Sequence[Object], now: datetime) -> list[Object]:
    """Why a ReplicaSet can make no pod is told of the Deployment, too."""
    for each in sets:
        for failure in each["status"].get("conditions", []):
            said = condition("ReplicaFailure", failure["status"], failure["reason"], failure["message"])
            return with_condition(conditions, said, now)
    return without(conditions, "ReplicaFailure")
