"""A Service of the Kubernetes double: what kube-proxy and the endpoints make of a selector, on one loopback port.

After the pages "Service", "Virtual IPs and Service Proxies" and "EndpointSlices" of kubernetes.io: **connections** are given
to the ready pods in turn, whatever goes through them, so a client that keeps its connection keeps its pod; a pod that is
being deleted gets no new ones, though those that it has go on; where no pod is ready, those that end and still say that they
are ready get them; where there is none at all a connection is refused, here by a reset.

Between a pod that changes and a node that knows it there is time, in a cluster a second or more: `lag`. A pod that stops
listening in it is why requests fail in a rollout without a preStop hook.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType

from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_pods import PODS, is_ending, is_finished, ready_since
from keyturn.testing.kubernetes_refusals import Object, RefusedError

_POLL = 0.01  # seconds between two looks at what happened to pods
_CHUNK = 65536


class ServiceBalancer:
    """A context manager: inside it `url` leads to the pods that the labels of `selector` find.

    `port`: of the pods, as a number or as the name of a container's. `lag`: seconds.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, selector: Mapping[str, str], port: int | str, *, lag: float = 0.0
    ) -> None:
        self._cluster, self._namespace, self._selector, self._port = cluster, namespace, selector, port
        self.lag = lag
        self.endpoints: tuple[tuple[str, int], ...] = ()  # known now: addresses and ports
        self._turn = 0
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service-balancer", daemon=True)

    def __enter__(self) -> ServiceBalancer:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.endpoints = tuple(self._found())
        server = await asyncio.start_server(self._forward, sock=self._socket)
        following = asyncio.create_task(self._follow())
        self._begun.set()
        await self._over.wait()
        following.cancel()
        server.close()

    async def _follow(self) -> None:
        """What is known follows what is, `lag` later."""
        since, known = 0, self.endpoints
        while True:
            try:
                happened = list(self._cluster.events(PODS, since))
                since, changed = (happened[-1].number, True) if happened else (since, False)
            except RefusedError:  # too long ago
                since, changed = self._cluster.number, True
            if changed and (found := tuple(self._found())) != known:
                known = found
                self._loop.call_later(self.lag, self._know, found)
            await asyncio.sleep(_POLL)

    def _know(self, found: tuple[tuple[str, int], ...]) -> None:
        self.endpoints = found

    def _found(self) -> Iterator[tuple[str, int]]:
        ready = [pod for pod in self._cluster.list(PODS, self._namespace)[0] if self._is_meant(pod)]
        for pod in [each for each in ready if not is_ending(each)] or ready:
            port = _port(pod, self._port)
            if port is not None:
                yield pod["status"]["podIP"], port

    def _is_meant(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels", {})
        serves = ready_since(pod) is not None and not is_finished(pod) and "podIP" in pod["status"]
        return serves and self._selector.items() <= labels.items()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            address, port = self._next()
            there_reader, there_writer = await asyncio.open_connection(address, port)
        except OSError:  # nobody is ready, or does not listen any more
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        except (OSError, asyncio.CancelledError):  # one side is gone, or this balancer, so the other must see that
            writer.transport.abort()
            there_writer.transport.abort()
        finally:
            writer.close()
            there_writer.close()

    def _next(self) -> tuple[str, int]:
        if not self.endpoints:
            raise ConnectionRefusedError
        self._turn += 1
        return self.endpoints[self._turn % len(self.endpoints)]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until the source has said all; then the sink is told so, and may still answer."""
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    with suppress(OSError):
        sink.write_eof()


def _port(pod: Object, wanted: int | str) -> int | None:
    if isinstance(wanted, int):
        return wanted
    ports = (port for each in pod["spec"]["containers"] for port in each.get("ports", []))
    return next((int(port["containerPort"]) for port in ports if port.get("name") == wanted), None)
