"""The nodes of the Kubernetes double, as far as pods are concerned: their names, and which of them have fallen silent.

After the pages "Nodes" ("Node controller") and "Taints and Tolerations" of kubernetes.io: 40 seconds after a node was last
heard its pods count as not ready, and 300 seconds later, unless they tolerate it longer, they are deleted. Marked, that is:
nobody is there to say that they have ended, so they stay until the node is heard again. There are no Node objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_pods import PODS, is_ending, ready_since, tolerated
from keyturn.testing.kubernetes_refusals import Object

_UNHEARD = timedelta(seconds=40)


class Nodes:
    """Pods run on these. A node that is `silence`d still runs its pods, and is not heard until `wake`."""

    def __init__(self, cluster: Cluster, names: Sequence[str]) -> None:
        self._cluster = cluster
        self.names = tuple(names)
        self._silent: dict[str, datetime] = {}

    def silence(self, name: str) -> None:
        self._silent.setdefault(name, self._cluster.now())

    def wake(self, name: str) -> None:
        self._silent.pop(name, None)

    def is_silent(self, name: str) -> bool:
        return name in self._silent

    def step(self) -> None:
        """Tell of the pods of silent nodes what is known. RefusedError: one has changed meanwhile."""
        now = self._cluster.now()
        for pod in self._cluster.list(PODS)[0] if self._silent else ():
            since = self._silent.get(pod["spec"].get("nodeName", ""))
            if since is None or now < since + _UNHEARD:
                continue
            if ready_since(pod) is not None:
                pod = self._cluster.write_parts(PODS, pod, {"status": _not_ready(pod, now)})
            if (now - since - _UNHEARD).total_seconds() >= tolerated(pod) and not is_ending(pod):
                self._cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])


def _not_ready(pod: Object, now: datetime) -> Object:
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": stamp(now)}
    conditions = [unready if each["type"] == "Ready" else each for each in pod["status"]["conditions"]]
    return {**pod["status"], "conditions": conditions}
