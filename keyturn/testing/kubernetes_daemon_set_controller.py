"""The controller of DaemonSets in the Kubernetes double: a pod on each node, replaced there.

After the pages "DaemonSet" and "Perform a Rolling Update on a DaemonSet" of kubernetes.io and the API reference of
RollingUpdateDaemonSet; **not compared with a real server**. On a node whose pod is ending no other is made before it is gone
but by a surge. Pods stay on silent nodes, and these count as wanted ("Taints and tolerations").
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from keyturn.testing import kubernetes_controller_revisions as revisions
from keyturn.testing.kubernetes_controller_revisions import HASH
from keyturn.testing.kubernetes_daemon_sets import DAEMON_SETS, TEMPLATES
from keyturn.testing.kubernetes_deployments import amount
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import owned_by, reference_to
from keyturn.testing.kubernetes_pods import PODS, is_available, is_ending, is_finished, pinned_to, ready_since
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_stateful_sets import ROLLING

_TOLERATED = (
    *(("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule")),
    *(("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule")),
)


def sync(cluster: Cluster, daemon_set: Object, nodes: Sequence[str]) -> None:
    """Look at one, act, and tell. RefusedError: something has changed meanwhile, look again."""
    if "deletionTimestamp" in daemon_set["metadata"]:
        return
    look = _Look(cluster, daemon_set, nodes)
    if not look.fill() and daemon_set["spec"]["updateStrategy"]["type"] == ROLLING:
        look.roll()
    look.tell()


class _Look:
    """One look at a DaemonSet, with its pods as they were before it acted, oldest first."""

    def __init__(self, cluster: Cluster, daemon_set: Object, nodes: Sequence[str]) -> None:
        self._cluster, self._set, self._spec = cluster, daemon_set, daemon_set["spec"]
        wanted = self._spec["template"]["spec"].get("nodeSelector", {})
        self._nodes = [each for each in nodes if wanted.items() <= _labels(each).items()]
        self._pods: dict[str, list[Object]] = defaultdict(list)
        for pod in owned_by(cluster, PODS, daemon_set):
            self._pods[pod["spec"].get("nodeName") or pinned_to(pod) or ""].append(pod)
        self._revisions = revisions.revised(cluster, daemon_set, HASH)
        self._hash = str(self._revisions[-1]["metadata"]["labels"][HASH])
        rolling = self._spec["updateStrategy"].get("rollingUpdate", {})
        self._surge = amount(rolling.get("maxSurge", 0), len(self._nodes), math.ceil)
        self._away = amount(rolling.get("maxUnavailable", 1), len(self._nodes), math.ceil)

    def fill(self) -> bool:
        """One pod on each node, and none elsewhere. Whether there was anything to do."""
        to_go = [pod for node, pods in self._pods.items() if node not in self._nodes for pod in pods if not is_ending(pod)]
        empty = [node for node in self._nodes if not self._pods[node]]
        for node in self._nodes:
            to_go += [pod for pod in self._pods[node] if is_finished(pod) and not is_ending(pod)]
            old, new = self._old_and_new(node)
            to_go += [*old[1:], *new[1:]] if self._surge else [*old, *new][1:]
        for node in empty:
            self._make(node)
        for pod in to_go:
            self._delete(pod)
        return bool(empty or to_go)

    def roll(self) -> None:
        if self._surge:
            self._roll_with_surge()
            return
        away, to_go, candidates = 0, [], []
        for node in self._nodes:
            old, new = self._old_and_new(node)
            if old and not new and self._serves(old[0]):
                candidates.append(old[0])
                continue
            if old and not new:
                to_go.append(old[0])
            away += not (new and not old and self._serves(new[0]))
        for pod in [*to_go, *candidates[: max(0, self._away - away)]]:
            self._delete(pod)

    def _roll_with_surge(self) -> None:
        surging = 0
        at_once: list[str] = []
        candidates: list[str] = []
        for node in self._nodes:
            old, new = self._old_and_new(node)
            if old and new and self._serves(new[0]):
                self._delete(old[0])
            elif old and new:
                surging += 1
            elif old:
                (candidates if self._serves(old[0]) else at_once).append(node)
        for node in [*at_once, *candidates[: max(0, self._surge - surging)]]:
            self._make(node)

    def tell(self) -> None:
        first = [self._pods[node][0] for node in self._nodes if self._pods[node]]
        least, now = self._spec.get("minReadySeconds", 0), self._cluster.now()
        available = sum(is_available(pod, least, now) for pod in first)
        counters = {
            "numberAvailable": available,
            "numberUnavailable": len(self._nodes) - available,
            "updatedNumberScheduled": sum(self._is_new(pod) for pod in first),
        }
        told = {
            "currentNumberScheduled": len(first),
            "desiredNumberScheduled": len(self._nodes),
            "numberMisscheduled": sum(bool(pods) for node, pods in self._pods.items() if node not in self._nodes),
            "numberReady": sum(ready_since(pod) is not None for pod in first),
            "observedGeneration": self._set["metadata"]["generation"],
            **{name: number for name, number in counters.items() if number},
        }
        self._cluster.write_parts(DAEMON_SETS, self._set, {"status": told})
        hashes = {pod["metadata"].get("labels", {}).get(HASH) for pods in self._pods.values() for pod in pods}
        kept = [each for each in self._revisions if each["metadata"]["labels"][HASH] in {*hashes, self._hash}]
        revisions.tidied(self._cluster, self._set, self._revisions, {each["metadata"]["name"] for each in kept})

    def _old_and_new(self, node: str) -> tuple[list[Object], list[Object]]:
        """Pods there that are meant to stay, by their template."""
        staying = [pod for pod in self._pods[node] if not is_ending(pod) and not is_finished(pod)]
        return [pod for pod in staying if not self._is_new(pod)], [pod for pod in staying if self._is_new(pod)]

    def _make(self, node: str) -> None:
        """It is left to the scheduler to bring it there."""
        template, named = self._spec["template"], self._set["metadata"]
        labels = {
            **template["metadata"].get("labels", {}),
            HASH: self._hash,
            "pod-template-generation": named["annotations"][TEMPLATES],
        }
        metadata = {
            **template["metadata"],
            "generateName": f"{named['name']}-",
            "labels": labels,
            "ownerReferences": [reference_to(self._set)],
        }
        fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [fields]}}
        spec = {
            **template["spec"],
            "affinity": {**template["spec"].get("affinity", {}), "nodeAffinity": required},
            "tolerations": [*template["spec"].get("tolerations", []), *(_toleration(*each) for each in _TOLERATED)],
        }
        self._cluster.create(PODS, named["namespace"], {"metadata": metadata, "spec": spec})

    def _delete(self, pod: Object) -> None:
        self._cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _is_new(self, pod: Object) -> bool:
        return bool(pod["metadata"].get("labels", {}).get(HASH) == self._hash)

    def _serves(self, pod: Object) -> bool:
        return is_available(pod, self._spec.get("minReadySeconds", 0), self._cluster.now())


def _labels(node: str) -> dict[str, str]:
    return {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}


def _toleration(what: str, effect: str) -> Object:
    return {"effect": effect, "key": f"node.kubernetes.io/{what}", "operator": "Exists"}
