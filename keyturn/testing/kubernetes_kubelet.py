"""The kubelets of the Kubernetes double, and the scheduler before them: pods get a node, run there, are told about, and end.

After the pages "Pod Lifecycle" ("Container restart policy", "Termination of Pods") and "Secrets" of kubernetes.io, in what a
rollout shows: a container has the values its secrets had **when it started**, also when it starts again; without its secret
it waits; one that exits is started again, at once and then after 10, 20, 40 ... 300 seconds; a pod that is deleted goes only
when its node says that it has ended, so on a silent node it stays. One that is deleted there by force runs on, unseen.
"""

from __future__ import annotations

import base64
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_containers import Container, Runtime
from keyturn.testing.kubernetes_nodes import Nodes
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_pods import PODS, is_ending, is_finished
from keyturn.testing.kubernetes_refusals import Object, RefusedError
from keyturn.testing.kubernetes_secrets import SECRETS

_LONGEST_BACK_OFF = 300


@dataclass(slots=True)
class _Run:
    """One pod on its node."""

    node: str
    container: Container | None = None
    started: datetime | None = None
    restarts: int = 0
    again_at: datetime | None = None
    waiting_for: str = "ContainerCreating"
    last: Object = field(default_factory=dict)


class Kubelet:
    """All nodes' kubelets in one. `counts`: how many containers were started, restarted and ended."""

    def __init__(self, cluster: Cluster, nodes: Nodes, runtime: Runtime) -> None:
        self._cluster, self._nodes, self._runtime = cluster, nodes, runtime
        self._runs: dict[str, _Run] = {}
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
        told["conditions"] = self._conditions(pod, ready=False)
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
        """To the node with the fewest pods, if there is one that answers."""
        pods = self._cluster.list(PODS)[0]
        crowd = Counter(each["spec"].get("nodeName") for each in pods)
        loud = [name for name in self._nodes.names if not self._nodes.is_silent(name)]
        if loud:
            spec = {**pod["spec"], "nodeName": min(loud, key=lambda name: crowd[name])}
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self._cluster.now())}
            status = {**pod["status"], "conditions": [scheduled]}
            self._cluster.write_parts(PODS, pod, {"spec": spec, "status": status})

    def _run(self, pod: Object) -> None:
        run, now = self._runs.setdefault(pod["metadata"]["uid"], _Run(pod["spec"]["nodeName"])), self._cluster.now()
        if run.container is not None and (code := run.container.exit_code()) is not None:
            back_off = min(10 * 2 ** (run.restarts - 1), _LONGEST_BACK_OFF) if run.restarts else 0
            run.container, run.again_at = None, now + timedelta(seconds=back_off)
            run.waiting_for = "CrashLoopBackOff"
            run.restarts += 1
            run.last = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}
            self.counts["ended"] += 1
        if run.container is None and (run.again_at is None or run.again_at <= now):
            self._start(pod, run)
        self._report(pod, run)

    def _start(self, pod: Object, run: _Run) -> None:
        try:
            environment = self._environment(pod)
        except RefusedError:
            run.waiting_for = "CreateContainerConfigError"
            return
        run.container, run.started = self._runtime.start(pod, environment), self._cluster.now()
        self.counts["restarted" if run.restarts else "started"] += 1

    def _end(self, pod: Object) -> None:
        metadata = pod["metadata"]
        run = self._runs.get(metadata["uid"])
        if run is not None and run.container is not None:
            run.container.stop(metadata["deletionGracePeriodSeconds"])
            if run.container.exit_code() is None:
                return
        self._forget(metadata["uid"])
        self._cluster.delete(PODS, metadata["namespace"], metadata["name"], {"gracePeriodSeconds": 0})

    def _forget(self, uid: str) -> None:
        run = self._runs.pop(uid, None)
        if run is not None and run.container is not None:
            if run.container.exit_code() is None:
                run.container.kill()
            self.counts["ended"] += 1

    def _environment(self, pod: Object) -> dict[str, str]:
        """RefusedError (404) where a secret is not there."""
        container, found = pod["spec"]["containers"][0], {}
        for source in container.get("envFrom", []):
            if (reference := source.get("secretRef")) is not None:
                prefix = source.get("prefix", "")
                found.update({f"{prefix}{name}": text for name, text in self._secret(pod, reference).items()})
        for each in container.get("env", []):
            reference = (each.get("valueFrom") or {}).get("secretKeyRef")
            if reference is None:
                found[each["name"]] = each.get("value", "")
            elif (text := self._secret(pod, reference).get(reference["key"])) is not None:
                found[each["name"]] = text
        return found

    def _secret(self, pod: Object, reference: Object) -> dict[str, str]:
        space = pod["metadata"]["namespace"]
        if reference.get("optional") and self._cluster.find(SECRETS, space, reference["name"]) is None:
            return {}
        data = self._cluster.get(SECRETS, space, reference["name"]).get("data", {})
        return {name: base64.b64decode(text).decode(errors="replace") for name, text in data.items()}

    def _report(self, pod: Object, run: _Run) -> None:
        container = run.container
        ready = container is not None and container.is_ready()
        begun = run.started is not None
        told: Object = {
            **pod["status"],
            "phase": "Running" if begun else "Pending",
            "hostIP": "127.0.0.1",
            "startTime": pod["status"].get("startTime", stamp(self._cluster.now())),
            "conditions": self._conditions(pod, ready=ready),
            "containerStatuses": [self._container_status(each, run, ready=ready) for each in pod["spec"]["containers"]],
        }
        if container is not None:
            told |= {"podIP": container.address, "podIPs": [{"ip": container.address}]}
        self._cluster.write_parts(PODS, pod, {"status": told})

    @staticmethod
    def _container_status(container: Object, run: _Run, *, ready: bool) -> Object:
        state: Object = {"waiting": {"reason": run.waiting_for}}
        if run.container is not None and run.started is not None:
            state = {"running": {"startedAt": stamp(run.started)}}
        return {
            "name": container["name"],
            "image": container["image"],
            "imageID": "local",
            "lastState": run.last,
            "ready": ready,
            "restartCount": run.restarts,
            "started": ready,
            "state": state,
        }

    def _conditions(self, pod: Object, *, ready: bool) -> list[Object]:
        """Each with the moment since which it has been so."""
        had = {each["type"]: each for each in pod["status"].get("conditions", [])}
        now, told = stamp(self._cluster.now()), []
        for type, is_so in (("Initialized", True), ("Ready", ready), ("ContainersReady", ready), ("PodScheduled", True)):
            new = {"type": type, "status": str(is_so), "lastTransitionTime": now}
            told.append(had[type] if type in had and had[type]["status"] == new["status"] else new)
        return told
