"""The controller of StatefulSets in the Kubernetes double: pods with numbers, made upwards and replaced downwards.

After the pages "StatefulSets" ("Deployment and Scaling Guarantees", "Update strategies") and "StatefulSet Basics" of
kubernetes.io; **not compared with a real server**. What misleads, as it is documented there:

- A pod is replaced by deleting it first: there is no surge, and while it starts one is missing.
- With `OrderedReady` nothing is done while any pod is not ready. So a template that never becomes ready stays even when it
  is taken back, until somebody deletes the pod ("Forced rollback").
- Below `partition` a pod keeps the template before, also when it is made anew.
- `currentRevision` becomes `updateRevision` only when all pods are of it and ready; with `OnDelete` it never does.
"""

from __future__ import annotations

import math

from keyturn.testing import kubernetes_controller_revisions as revisions
from keyturn.testing.kubernetes_controller_revisions import HASH
from keyturn.testing.kubernetes_deployments import amount
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import owned_by, reference_to
from keyturn.testing.kubernetes_pods import PODS, is_available, is_ending, is_finished, ready_since
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_stateful_sets import ROLLING, STATEFUL_SETS

_REVISION_LABEL = "controller.kubernetes.io/hash"


def sync(cluster: Cluster, stateful_set: Object) -> None:
    """Look at one, act, and tell. RefusedError: something has changed meanwhile, look again."""
    if "deletionTimestamp" in stateful_set["metadata"]:
        return
    look = _Look(cluster, stateful_set)
    if look.fill() and look.shrink():
        look.replace()
    look.tell()


class _Look:
    """One look at a StatefulSet. `_pods`: by number, as they are when this look has acted."""

    def __init__(self, cluster: Cluster, stateful_set: Object) -> None:
        self._cluster, self._set, self._spec = cluster, stateful_set, stateful_set["spec"]
        self._pods = {_number(pod): pod for pod in owned_by(cluster, PODS, stateful_set)}
        self._revisions = revisions.revised(cluster, stateful_set, _REVISION_LABEL)
        self._update = self._revisions[-1]
        current = stateful_set["status"].get("currentRevision")
        named = {each["metadata"]["name"]: each for each in self._revisions}
        self._current = named.get(current, self._update)
        first = self._spec.get("ordinals", {}).get("start", 0)
        self._wanted = range(first, first + self._spec["replicas"])
        self._in_order = self._spec["podManagementPolicy"] == "OrderedReady"

    def fill(self) -> bool:
        """Make what is missing, from below. False: first that has to come to something."""
        for number in self._wanted:
            pod = self._pods.get(number)
            if pod is None:
                self._make(number)
            elif is_finished(pod) and not is_ending(pod):
                self._delete(number)
            elif self._serves(pod):
                continue
            if self._in_order:
                return False
        return True

    def shrink(self) -> bool:
        """Delete what is not wanted, from above."""
        beyond = sorted((each for each in self._pods if each not in self._wanted), reverse=True)
        for number in beyond:
            if not is_ending(self._pods[number]):
                self._delete(number)
            if self._in_order:
                return False
        return True

    def replace(self) -> None:
        """Delete what is of another template, from above, as far as its strategy says."""
        strategy = self._spec["updateStrategy"]
        if strategy["type"] != ROLLING:
            return
        rolling, count = strategy["rollingUpdate"], len(self._wanted)
        away = sum(not self._serves(self._pods[number]) for number in self._wanted if number in self._pods)
        room = max(1, amount(rolling["maxUnavailable"], count, math.ceil)) - away
        for number in reversed(self._wanted[rolling["partition"] :]):
            pod = self._pods.get(number)
            if room > 0 and pod is not None and not is_ending(pod) and self._is_of(pod) != self._name(self._update):
                self._delete(number)
                room -= 1

    def tell(self) -> None:
        pods, now = list(self._pods.values()), self._cluster.now()
        staying = [self._is_of(pod) for pod in pods if not is_ending(pod)]
        counters = {
            "currentReplicas": staying.count(self._name(self._current)),
            "readyReplicas": sum(ready_since(pod) is not None for pod in pods),
            "updatedReplicas": staying.count(self._name(self._update)),
        }
        wanted, current = len(self._wanted), self._current
        whole = len(pods) == counters["readyReplicas"] == counters["updatedReplicas"] == wanted
        if whole and self._spec["updateStrategy"]["type"] == ROLLING:
            current, counters["currentReplicas"] = self._update, counters["updatedReplicas"]
        told = {
            "availableReplicas": sum(is_available(pod, self._spec.get("minReadySeconds", 0), now) for pod in pods),
            "collisionCount": 0,
            "currentRevision": self._name(current),
            "observedGeneration": self._set["metadata"]["generation"],
            "replicas": len(pods),
            "updateRevision": self._name(self._update),
            **{name: number for name, number in counters.items() if number},
        }
        self._cluster.write_parts(STATEFUL_SETS, self._set, {"status": told})
        in_use = {self._name(current), self._name(self._update), *(self._is_of(pod) for pod in pods)}
        revisions.tidied(self._cluster, self._set, self._revisions, in_use)

    def _make(self, number: int) -> None:
        """Below the partition of the template before."""
        strategy = self._spec["updateStrategy"]
        kept = strategy["type"] == ROLLING and number in self._wanted[: strategy["rollingUpdate"]["partition"]]
        revision = self._current if kept else self._update
        template, named = revisions.template_of(revision), self._set["metadata"]
        name = f"{named['name']}-{number}"
        labels = {
            **template["metadata"].get("labels", {}),
            "apps.kubernetes.io/pod-index": str(number),
            HASH: self._name(revision),
            "statefulset.kubernetes.io/pod-name": name,
        }
        metadata = {**template["metadata"], "name": name, "labels": labels, "ownerReferences": [reference_to(self._set)]}
        spec = {**template["spec"], "hostname": name}
        if self._spec.get("serviceName"):
            spec["subdomain"] = self._spec["serviceName"]
        self._pods[number] = self._cluster.create(PODS, named["namespace"], {"metadata": metadata, "spec": spec})

    def _delete(self, number: int) -> None:
        metadata = self._pods[number]["metadata"]
        left = self._cluster.delete(PODS, metadata["namespace"], metadata["name"])
        if left is None:
            del self._pods[number]
        else:
            self._pods[number] = left

    def _serves(self, pod: Object) -> bool:
        least = self._spec.get("minReadySeconds", 0)
        return not is_ending(pod) and not is_finished(pod) and is_available(pod, least, self._cluster.now())

    @staticmethod
    def _is_of(pod: Object) -> str:
        return str(pod["metadata"].get("labels", {}).get(HASH, ""))

    @staticmethod
    def _name(revision: Object) -> str:
        return str(revision["metadata"]["name"])


def _number(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])
