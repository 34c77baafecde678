"""By how much a Deployment's ReplicaSets of the Kubernetes double grow and shrink at one look of its controller. Pure.

After the page "Deployments" of kubernetes.io ("Max Unavailable", "Max Surge", "Proportional scaling") and held to
recordings: pods of an older template that are not available go before any that serves.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.testing.kubernetes_deployments import surge_and_unavailable
from keyturn.testing.kubernetes_refusals import Object


def size(each: Object) -> int:
    return int(each["spec"]["replicas"])


def available(each: Object) -> int:
    return int(each["status"].get("availableReplicas", 0))


def new_size(deployment: Object, new_now: int, others: Sequence[Object]) -> int:
    """How big the ReplicaSet of the newest template is to be."""
    wanted = size(deployment)
    if deployment["spec"]["strategy"]["type"] == "Recreate" or new_now > wanted:
        return wanted
    room = wanted + surge_and_unavailable(deployment)[0] - new_now - sum(size(each) for each in others)
    return new_now + max(0, min(room, wanted - new_now))


def old_sizes(deployment: Object, new: Object, old: Sequence[Object]) -> list[int]:
    """How big the others are to be, in their order."""
    sizes = [size(each) for each in old]
    least = size(deployment) - surge_and_unavailable(deployment)[1]
    to_go = sum(sizes) + available(new) - least
    if to_go <= 0:
        return sizes
    for number, each in enumerate(old):  # those that do not serve
        gone = max(0, min(to_go, sizes[number] - available(each)))
        sizes[number] -= gone
        to_go -= gone
    to_go = sum(available(each) for each in (*old, new)) - least
    for number, _ in enumerate(old):
        gone = max(0, min(to_go, sizes[number]))
        sizes[number] -= gone
        to_go -= gone
    return sizes


def scaled_sizes(deployment: Object, sets: Sequence[Object], *, rolling: bool) -> list[int]:
    """How big each of several is to be after the Deployment was scaled amid a rollout: each takes its share."""
    sizes = [size(each) for each in sets]
    total, wanted = sum(sizes), size(deployment)
    if not rolling or not total or not wanted:
        return sizes if wanted else [0 for _ in sizes]
    allowed = wanted + surge_and_unavailable(deployment)[0]
    shared = [each * allowed // total for each in sizes]
    biggest = max(range(len(sizes)), key=lambda number: sizes[number])
    shared[biggest] += allowed - sum(shared)
    return shared
