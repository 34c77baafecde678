"""A Service of the Kubernetes double: what kube-proxy and the endpoints make of a selector, on one loopback port.

After the pages "Service", "Virtual IPs and Service Proxies" and "EndpointSlices" of kubernetes.io: connections are given to
the ready pods in turn, and one that is refused is not tried on another; a pod that is being deleted gets no new ones, though
those that it has go on; where no pod is ready, those that end and still say that they are ready get them; where there is
none at all a connection is refused, here by a reset.

Between a pod that changes and a node that knows it there is time, in a cluster a second or more: `lag`. A pod that stops
listening in it is why requests fail in a rollout without a preStop hook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keyturn.testing.balancer import Balancer, Target
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_pods import PODS, is_ending, is_finished, ready_since
from keyturn.testing.kubernetes_refusals import Object, RefusedError


class ServiceBalancer(Balancer):
    """A context manager: inside it `url` leads to the pods that the labels of `selector` find.

    `port`: of the pods, as a number or as the name of a container's. `lag`: seconds.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, selector: Mapping[str, str], port: int | str, *, lag: float = 0.0
    ) -> None:
        super().__init__(_Endpoints(cluster, namespace, selector, port), lag=lag)


class _Endpoints:
    """Those of a Service, found anew when something has happened to a pod."""

    def __init__(self, cluster: Cluster, namespace: str, selector: Mapping[str, str], port: int | str) -> None:
        self._cluster, self._namespace, self._selector, self._port = cluster, namespace, selector, port
        self._since = 0
        self._last: tuple[Target, ...] | None = None

    def __call__(self) -> tuple[Target, ...]:
        if self._has_changed() or self._last is None:
            self._last = tuple(self._found())
        return self._last

    def _has_changed(self) -> bool:
        try:
            happened = list(self._cluster.events(PODS, self._since))
        except RefusedError:  # too long ago
            self._since = self._cluster.number
            return True
        self._since = happened[-1].number if happened else self._since
        return bool(happened)

    def _found(self) -> Iterator[Target]:
        ready = [pod for pod in self._cluster.list(PODS, self._namespace)[0] if self._is_meant(pod)]
        for pod in [each for each in ready if not is_ending(each)] or ready:
            port = _port(pod, self._port)
            if port is not None:
                yield pod["status"]["podIP"], port

    def _is_meant(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels", {})
        serves = ready_since(pod) is not None and not is_finished(pod) and "podIP" in pod["status"]
        return serves and self._selector.items() <= labels.items()


def _port(pod: Object, wanted: int | str) -> int | None:
    if isinstance(wanted, int):
        return wanted
    ports = (port for each in pod["spec"]["containers"] for port in each.get("ports", []))
    return next((int(port["containerPort"]) for port in ports if port.get("name") == wanted), None)
