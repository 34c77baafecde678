"""Workloads of the Kubernetes double: Deployments, StatefulSets and DaemonSets that roll, their pods, and what moves them.

    with KubernetesDouble(further=WORKLOADS, now=clock) as double:
        workloads = Workloads(double.cluster)

Nothing moves by itself. `step` lets everybody look once (the controllers of Deployments and ReplicaSets, the garbage
collector, the nodes and the kubelets), `settle` until nobody has anything to do, `turn` while a test's clock is turned. In
real time they look from a thread: `moving`.

A rollout is held to recordings of a 1.36.2 server: every answer and every watch event of tests/data/kubernetes-1.36.2, by
tests/testing/test_kubernetes_rollout.py. What is known to differ, and why a rotation cannot see it:

- The hash of a template is another one, in the same form: nobody computes it but the controller.
- Between two writes a controller is not disturbed by its own clients' limits, nor by being late: how many events there are
  and when differs from run to run on a real server, too.
- Recorded is one strategy, RollingUpdate with maxSurge 1: the others, pauses, scaling amid a rollout, crashes and silent
  nodes are after the documentation of Kubernetes.
- Pod templates get the defaults of the commonest fields: a rotation compares no templates.
- Types of fields are looked at no deeper than the numbers of a workload's spec, and fields that do not exist are kept: what
  a rotation sends is one annotation.
- `matchExpressions` of a selector, the adoption of orphans, the order of a `Foreground` delete, `Orphan` deletes (400): a
  rotation uses none of them.
- There are no Node, Event or Endpoints objects, and no quotas: `refusing` of the ReplicaSetController says that pods cannot
  be made, as a rotation is told of it, by a condition.
- The kubelet tells of a pod in one write what a real one tells in several, and has no init containers: a rotation reads
  Ready, the phase, and the marks of a delete.

StatefulSets, DaemonSets, their ControllerRevisions, scales, budgets and evictions are **not compared with a real server**:
they are after the documentation of Kubernetes, and every answer is read by the models of the official client.

Pods are only played, unless a Runtime of kubernetes_processes.py runs them. kubernetes_balancer.py is a Service before them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from keyturn.testing.kubernetes_clock import TurnedClock
from keyturn.testing.kubernetes_containers import Played, Runtime
from keyturn.testing.kubernetes_controller_revisions import CONTROLLER_REVISIONS
from keyturn.testing.kubernetes_daemon_set_controller import sync as sync_daemon_set
from keyturn.testing.kubernetes_daemon_sets import DAEMON_SETS
from keyturn.testing.kubernetes_deployment_controller import sync as sync_deployment
from keyturn.testing.kubernetes_deployments import DEPLOYMENTS
from keyturn.testing.kubernetes_disruptions import sync as sync_budget
from keyturn.testing.kubernetes_kubelet import Kubelet
from keyturn.testing.kubernetes_nodes import Nodes
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import collect
from keyturn.testing.kubernetes_pods import DISRUPTION_BUDGETS, PODS
from keyturn.testing.kubernetes_refusals import RefusedError
from keyturn.testing.kubernetes_replica_sets import REPLICA_SETS, ReplicaSetController
from keyturn.testing.kubernetes_stateful_set_controller import sync as sync_stateful_set
from keyturn.testing.kubernetes_stateful_sets import STATEFUL_SETS

WORKLOADS = (
    *(DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS),
    *(CONTROLLER_REVISIONS, PODS, DISRUPTION_BUDGETS),
)
_OWNED = (
    *((DEPLOYMENTS, REPLICA_SETS), (REPLICA_SETS, PODS), (STATEFUL_SETS, PODS), (DAEMON_SETS, PODS)),
    *((STATEFUL_SETS, CONTROLLER_REVISIONS), (DAEMON_SETS, CONTROLLER_REVISIONS)),
)
_MOST_STEPS = 1000
_BETWEEN_STEPS = 0.05  # seconds


class Workloads:
    """What moves the workloads of a cluster, whose double has been given WORKLOADS."""

    def __init__(
        self,
        cluster: Cluster,
        runtime: Runtime | None = None,
        nodes: Sequence[str] = ("node-0", "node-1"),
        *,
        back_off: float = 10.0,
    ) -> None:
        self.cluster = cluster
        self.nodes = Nodes(cluster, nodes)
        self.kubelet = Kubelet(cluster, self.nodes, runtime or Played(cluster.now), back_off)
        self.replica_sets = ReplicaSetController(cluster)
        self._broken: Exception | None = None

    def step(self) -> bool:
        """Everybody looks once. False: nobody had anything to do."""
        before = self.cluster.number
        for deployment in self.cluster.list(DEPLOYMENTS)[0]:
            _unless_changed(partial(sync_deployment, self.cluster, deployment))
        for replica_set in self.cluster.list(REPLICA_SETS)[0]:
            _unless_changed(partial(self.replica_sets.sync, replica_set))
        for stateful_set in self.cluster.list(STATEFUL_SETS)[0]:
            _unless_changed(partial(sync_stateful_set, self.cluster, stateful_set))
        for daemon_set in self.cluster.list(DAEMON_SETS)[0]:
            _unless_changed(partial(sync_daemon_set, self.cluster, daemon_set, self.nodes.names))
        for owners, owned in _OWNED:
            _unless_changed(partial(collect, self.cluster, owners, owned))
        for budget in self.cluster.list(DISRUPTION_BUDGETS)[0]:
            _unless_changed(partial(sync_budget, self.cluster, budget))
        _unless_changed(self.nodes.step)
        self.kubelet.step()
        return self.cluster.number != before

    def settle(self) -> None:
        """Until nobody has anything to do at this moment. RuntimeError where that does not come."""
        for _ in range(_MOST_STEPS):
            if not self.step():
                return
        raise RuntimeError("the workloads do not come to rest")

    def turn(self, clock: TurnedClock, seconds: float, *, tick: float = 0.25) -> None:
        """Settle, and again after each tick of the clock, until so many seconds are over."""
        self.settle()
        left = seconds
        while left > 0:
            clock.turn(min(tick, left))
            left -= tick
            self.settle()

    @contextmanager
    def moving(self) -> Iterator[None]:
        """They look by themselves inside, in real time. In the end everything that runs is killed."""
        over = threading.Event()
        self._broken = None
        thread = threading.Thread(target=self._move, args=(over,), name="kubernetes-workloads", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.kubelet.stop()
        if self._broken is not None:
            raise RuntimeError("the workloads have stopped moving") from self._broken

    def _move(self, over: threading.Event) -> None:
        try:
            while not over.wait(_BETWEEN_STEPS):
                self.step()
        except Exception as error:  # a fault of the double's own: whoever waits for a rollout is to be told in the end
            self._broken = error


def _unless_changed(act: Callable[[], None]) -> None:
    try:
        act()
    except RefusedError:  # somebody has changed it meanwhile: at the next step
        return
