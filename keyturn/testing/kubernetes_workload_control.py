"""How a test in another process tells the Kubernetes double's workloads what is to happen, beside the double's own control.

POST   /_double/workloads   {"behaviour": {"ready_after": null}, "where": {"API_KEY": "bad"}}: so do containers that start
                            from now on with these variables (Behaviour); without "where", all that are not meant so
                            {"silence": NODE} | {"wake": NODE} | {"evict": [NAMESPACE, POD]}
                            {"refusing": "exceeded quota"}: no pod can be made; "": they can
GET    /_double/workloads   {"started": 3, ...}: counts of containers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.testing.kubernetes_containers import Behaviour, Played
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_workloads import Workloads


class WorkloadControl:
    """To be put into a double's `controls`. `runtime`: what the workloads run their containers with."""

    def __init__(self, workloads: Workloads, runtime: Played) -> None:
        self._workloads = workloads
        self._otherwise = Behaviour()
        self._behaviours: list[tuple[dict[str, str], Behaviour]] = []
        runtime.behaves = self._behaves

    def __call__(self, sent: Any) -> Any:
        """ValueError or TypeError for what it does not know. `sent`: None asks."""
        match sent:
            case None:
                return dict(self._workloads.kubelet.counts)
            case {"behaviour": dict(told), "where": dict(where)}:
                self._behaviours.insert(0, (where, Behaviour(**told)))
            case {"behaviour": dict(told)}:
                self._otherwise = Behaviour(**told)
            case {"silence": str(node)}:
                self._workloads.nodes.silence(node)
            case {"wake": str(node)}:
                self._workloads.nodes.wake(node)
            case {"evict": [str(namespace), str(pod)]}:
                self._workloads.kubelet.evict(namespace, pod)
            case {"refusing": str(why)}:
                self._workloads.replica_sets.refusing = why
            case _:
                raise ValueError("see the module's text")
        return {}

    def _behaves(self, _pod: Object, environment: Mapping[str, str]) -> Behaviour:
        """The newest one that is meant."""
        for where, behaviour in self._behaviours:
            if where.items() <= environment.items():
                return behaviour
        return self._otherwise
