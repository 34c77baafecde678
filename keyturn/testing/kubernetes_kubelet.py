"""The kubelets of the Kubernetes double, and the scheduler before them: pods get a node, run there, are told about, and end.

After the pages "Pod Lifecycle" ("Container restart policy", "Termination of Pods") and "Secrets" of kubernetes.io, in what a
rollout shows: a container has the values its secrets had **when it started**, also when it starts again; without its secret
it waits; one that exits is started again; a pod that is deleted goes only when its node says that it has ended, so on a
silent node it stays. One that is deleted there by force runs on, unseen.
"""

from __future__ import annotations

import threading
from collections import Counter

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_containers import CannotStartError, Runtime
from keyturn.testing.kubernetes_environment import environment
from keyturn.testing.kubernetes_lives import Life, Run, conditions
from keyturn.testing.kubernetes_nodes import Nodes
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_pods import PODS, is_ending, is_finished, pinned_to
from keyturn.testing.kubernetes_refusals import Object, RefusedError


class Kubelet:
    """All nodes' kubelets in one. `counts`: how many containers were started, restarted and ended.

    `back_off`: seconds before the second start of a container that keeps ending; then twice as many, to 300.
    """

    def __init__(self, cluster: Cluster, nodes: Nodes, runtime: Runtime, back_off: float = 10.0) -> None:
        self._cluster, self._nodes, self._runtime, self._back_off = cluster, nodes, runtime, back_off
        self._runs: dict[str, Run] = {}
        self._lock = threading.RLock()  # a test evicts while they move
        self.counts: Counter[str] = Counter()

    def step(self) -> None:
        """Look at every pod once."""
        with self._lock:
            self._look_at_all()

    def _look_at_all(self) -> None:
        pods = self._cluster.list(PODS)[0]
        there = {pod["metadata"]["uid"] for pod in pods}
        for uid, run in list(self._runs.items()):
            if uid not in there and not self._nodes.is_silent(run.node):
                self._forget(uid)
        for pod in pods:
            try:
                self._look_at(pod)
            except RefusedError:  # changed meanwhile: at the next step
                continue

    def evict(self, namespace: str, name: str) -> None:
        """As a node short of memory does: the pod has failed, stays as an object, and runs no more."""
        pod = self._cluster.get(PODS, namespace, name)
        told = {**pod["status"], "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        told["conditions"] = conditions(pod, self._cluster.now(), ready=False)
        told.pop("containerStatuses", None)
        with self._lock:
            self._cluster.write_parts(PODS, pod, {"status": told})
            self._forget(pod["metadata"]["uid"])

    def stop(self) -> None:
        """Kill whatever runs."""
        with self._lock:
            for uid in list(self._runs):
                self._forget(uid)

    def _look_at(self, pod: Object) -> None:
        node = pod["spec"].get("nodeName")
        if node is None:
            self._bind(pod)
        elif not self._nodes.is_silent(node):
            if is_ending(pod):
                self._end(pod)
            elif not is_finished(pod):
                self._run(pod)

    def _bind(self, pod: Object) -> None:
        """To the node with the fewest pods, if there is one that answers; or to the one that it demands."""
        pods = self._cluster.list(PODS)[0]
        crowd = Counter(each["spec"].get("nodeName") for each in pods)
        loud = [name for name in self._nodes.names if not self._nodes.is_silent(name)]
        node = pinned_to(pod) or min(loud, key=lambda name: crowd[name], default=None)
        if node is not None:
            spec = {**pod["spec"], "nodeName": node}
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self._cluster.now())}
            status = {**pod["status"], "conditions": [scheduled]}
            self._cluster.write_parts(PODS, pod, {"spec": spec, "status": status})

    def _run(self, pod: Object) -> None:
        run, now = self._runs.setdefault(pod["metadata"]["uid"], Run(pod["spec"]["nodeName"])), self._cluster.now()
        for spec in pod["spec"]["containers"]:
            life = run.lives.setdefault(spec["name"], Life())
            if life.container is not None and (code := life.container.exit_code()) is not None:
                life.ended(code, now, self._back_off)
                self.counts["ended"] += 1
            if life.may_start(now):
                self._start(pod, spec, life)
        self._cluster.write_parts(PODS, pod, {"status": run.status(pod, now)})

    def _start(self, pod: Object, spec: Object, life: Life) -> None:
        try:
            variables = environment(self._cluster, pod, spec, self._runtime.address(pod))
            life.container, life.started = self._runtime.start(pod, spec, variables), self._cluster.now()
        except CannotStartError as error:
            life.waiting_for = error.reason
        else:
            self.counts["restarted" if life.restarts else "started"] += 1

    def _end(self, pod: Object) -> None:
        metadata = pod["metadata"]
        run = self._runs.get(metadata["uid"])
        if run is not None:
            for life in run.lives.values():
                if life.container is not None:
                    life.container.stop(metadata["deletionGracePeriodSeconds"])
            if not all(life.has_ended() for life in run.lives.values()):
                self._cluster.write_parts(PODS, pod, {"status": run.status(pod, self._cluster.now())})
                return
        self._forget(metadata["uid"])
        self._cluster.delete(PODS, metadata["namespace"], metadata["name"], {"gracePeriodSeconds": 0})

    def _forget(self, uid: str) -> None:
        run = self._runs.pop(uid, None)
        for life in run.lives.values() if run is not None else ():
            if life.container is not None:
                if life.container.exit_code() is None:
                    life.container.kill()
                self.counts["ended"] += 1
