"""What runs a pod of the Kubernetes double: the interface that its kubelet uses, and containers that are only played.

A kubelet asks nothing else than a `Runtime` for a `Container`, and looks at that again and again. Pods are programs with the
Runtime of kubernetes_processes.py; the one here does nothing but tell what a test has set, by its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keyturn.testing.kubernetes_refusals import Object


class CannotStartError(Exception):
    """Why a container waits, as its status tells it: CreateContainerConfigError, ErrImagePull. It is tried again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Container(Protocol):
    """One life of a container, from a start to an end. `address`: where it answers. `id`: "" where nobody may know it."""

    address: str
    id: str

    def is_started(self) -> bool:
        """Whether its startup probe has passed."""

    def is_ready(self) -> bool:
        """What its readiness probe says now."""

    def exit_code(self) -> int | None:
        """None while it runs."""

    def stop(self, grace: float) -> None:
        """It is asked to end, and killed after so many seconds. Gives at once."""

    def kill(self) -> None:
        """It has ended when this gives."""


class Runtime(Protocol):
    """Starts containers."""

    def address(self, pod: Object) -> str:
        """Where a pod's containers are going to answer: a variable may name it (`fieldRef` of `status.podIP`)."""

    def start(self, pod: Object, spec: Object, environment: Mapping[str, str]) -> Container:
        """`spec`: the container's, of the pod. `environment`: its variables, secrets resolved. CannotStartError."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the containers of a pod do. Seconds from their start; None: never.

    `ends_after`: from the moment at which they are asked to end; the grace period is the most.
    """

    ready_after: float | None = 1.0
    ends_after: float = 0.0
    exits_after: float | None = None
    exit_code: int = 1
    address: str = "127.0.0.1"


class Played:
    """A Runtime of containers that are only told of. `behaves` is asked at each start, and can be exchanged at any time."""

    def __init__(
        self,
        now: Callable[[], datetime],
        behaves: Callable[[Object, Mapping[str, str]], Behaviour] = lambda pod, environment: Behaviour(),
    ) -> None:
        self._now = now
        self.behaves = behaves

    def address(self, pod: Object) -> str:
        return Behaviour().address

    def start(self, pod: Object, spec: Object, environment: Mapping[str, str]) -> Container:
        return _PlayedContainer(self.behaves(pod, environment), self._now)


class _PlayedContainer:
    def __init__(self, behaviour: Behaviour, now: Callable[[], datetime]) -> None:
        self._behaviour, self._now = behaviour, now
        self._started = now()
        self._asked: datetime | None = None
        self._grace = 0.0
        self._killed = False
        self.address, self.id = behaviour.address, ""

    def is_started(self) -> bool:
        return self.is_ready()  # as it was recorded

    def is_ready(self) -> bool:
        after = self._behaviour.ready_after
        return after is not None and self._past(self._started) >= after and self.exit_code() is None

    def exit_code(self) -> int | None:
        if self._killed:
            return 137
        if self._asked is not None and self._past(self._asked) >= min(self._behaviour.ends_after, self._grace):
            return 137 if self._behaviour.ends_after > self._grace else 0
        after = self._behaviour.exits_after
        return self._behaviour.exit_code if after is not None and self._past(self._started) >= after else None

    def stop(self, grace: float) -> None:
        if self._asked is None:
            self._asked = self._now()
        self._grace = grace

    def kill(self) -> None:
        self._killed = True

    def _past(self, since: datetime) -> float:
        return (self._now() - since).total_seconds()
