"""Probes and hooks of the Kubernetes double's containers that are processes: asked over the network, and run, for real.

After the page "Configure Liveness, Readiness and Startup Probes" of kubernetes.io: a GET passes with 200 to 399; until the
startup probe has passed the others are not asked; a container begins not ready, and alive. A probe by gRPC never passes.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn.testing.kubernetes_refusals import Object


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is. `run`: a command beside it, for so many seconds at most; whether it ended with 0."""

    address: str
    ports: Mapping[str, int]
    run: Callable[[Sequence[str], float], bool]

    def port(self, named: int | str) -> int:
        """ValueError for a name that no port has."""
        return self.ports[named] if named in self.ports else int(named)  # type: ignore[index]


def passes(action: Object, place: Place, seconds: float) -> bool:
    """Whether a probe's or a hook's action succeeds in so many seconds."""
    try:
        match action:
            case {"httpGet": dict(wanted)}:
                return 200 <= _status(wanted, place, seconds) < 400
            case {"tcpSocket": dict(wanted)}:
                with socket.create_connection((wanted.get("host") or place.address, place.port(wanted["port"])), seconds):
                    return True
            case {"exec": {"command": [*command]}}:
                return place.run(command, seconds)
    except (OSError, http.client.HTTPException, ValueError):
        pass
    return False


def _status(wanted: Object, place: Place, seconds: float) -> int:
    host, port = wanted.get("host") or place.address, place.port(wanted["port"])
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    if wanted.get("scheme") == "HTTPS":
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=unchecked)
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
    headers |= {each["name"]: each["value"] for each in wanted.get("httpHeaders", [])}
    try:
        connection.request("GET", wanted.get("path", "/"), headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


class Probing:
    """The probes of one container, in threads, from now on. `failed`: called once, when it is to be started again."""

    def __init__(self, spec: Object, place: Place, failed: Callable[[Object], None]) -> None:
        self.is_started = "startupProbe" not in spec
        self.is_ready = False
        self._spec, self._place, self._failed = spec, place, failed
        self._began = time.monotonic()
        self._over = threading.Event()
        self._ending = threading.Event()
        self._in_thread(self._watch)

    def only_readiness(self) -> None:
        """It is asked to end: nobody asks any more whether it lives."""
        self._ending.set()

    def stop(self) -> None:
        self._ending.set()
        self._over.set()

    def _in_thread(self, run: Callable[..., None], *given: Any) -> None:
        threading.Thread(target=run, args=given, name=f"probes of {self._spec['name']}", daemon=True).start()

    def _watch(self) -> None:
        if not self.is_started and not self._starts(self._spec["startupProbe"]):
            return
        self.is_started = True
        if "livenessProbe" in self._spec:
            self._in_thread(self._watch_life, self._spec["livenessProbe"])
        if "readinessProbe" not in self._spec:
            self.is_ready = True
            return
        for passed in self._verdicts(self._spec["readinessProbe"], self._over):
            self.is_ready = passed

    def _starts(self, probe: Object) -> bool:
        for passed in self._verdicts(probe, self._ending):
            if not passed:
                self._failed(probe)
            return passed
        return False

    def _watch_life(self, probe: Object) -> None:
        for passed in self._verdicts(probe, self._ending):
            if not passed:
                self._failed(probe)
                return

    def _verdicts(self, probe: Object, over: threading.Event) -> Iterator[bool]:
        """Each time that it has passed, or failed, often enough in a row."""
        over.wait(max(0.0, self._began + probe.get("initialDelaySeconds", 0) - time.monotonic()))
        before, in_a_row = None, 0
        while not over.is_set():
            passed = passes(probe, self._place, probe["timeoutSeconds"])
            in_a_row = in_a_row + 1 if passed == before else 1
            before = passed
            if in_a_row >= probe["successThreshold" if passed else "failureThreshold"] and not over.is_set():
                yield passed
            over.wait(probe["periodSeconds"])
