"""What a kubelet of the Kubernetes double knows of a pod that it runs, and how it tells that as the pod's status.

After the page "Pod Lifecycle" of kubernetes.io: one that exits is started again, at once and then after 10, 20, 40 ... 300
seconds; whoever has run for ten minutes is trusted again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_containers import Container
from keyturn.testing.kubernetes_refusals import Object

_LONGEST_BACK_OFF = 300.0
_TRUSTED_AFTER = timedelta(minutes=10)


@dataclass(slots=True)
class Life:
    """One container of a pod: that of now, where there is one, and how the one before ended."""

    container: Container | None = None
    started: datetime | None = None
    restarts: int = 0
    in_a_row: int = 0  # starts that soon ended
    again_at: datetime | None = None
    waiting_for: str = "ContainerCreating"
    last: Object = field(default_factory=dict)

    def has_ended(self) -> bool:
        return self.container is None or self.container.exit_code() is not None

    def may_start(self, now: datetime) -> bool:
        return self.container is None and (self.again_at is None or self.again_at <= now)

    def ended(self, code: int, now: datetime, back_off: float) -> None:
        """`back_off`: seconds before the second start after an end."""
        self.last = {"terminated": self._terminated(code, now)}
        if self.started is not None and now - self.started >= _TRUSTED_AFTER:
            self.in_a_row = 0
        wait = min(back_off * 2.0 ** (self.in_a_row - 1), _LONGEST_BACK_OFF) if self.in_a_row else 0.0
        self.container, self.again_at = None, now + timedelta(seconds=wait)
        self.waiting_for = "CrashLoopBackOff"
        self.restarts += 1
        self.in_a_row += 1

    def told(self, spec: Object, now: datetime) -> Object:
        """Its entry in `containerStatuses`."""
        container, state = self.container, {"waiting": {"reason": self.waiting_for}}
        if container is not None and self.started is not None:
            code = container.exit_code()
            running = {"running": {"startedAt": stamp(self.started)}}
            state = running if code is None else {"terminated": self._terminated(code, now)}
        return {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": "local",
            "lastState": self.last,
            "ready": container is not None and container.is_ready(),
            "restartCount": self.restarts,
            "started": container is not None and container.is_started(),
            "state": state,
            **({"containerID": container.id} if container is not None and container.id else {}),
        }

    def _terminated(self, code: int, now: datetime) -> Object:
        assert self.container is not None and self.started is not None
        return {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": stamp(self.started),
            "finishedAt": stamp(now),
            **({"containerID": self.container.id} if self.container.id else {}),
        }


@dataclass(slots=True)
class Run:
    """One pod on its node."""

    node: str
    lives: dict[str, Life] = field(default_factory=dict)  # by the container's name

    def status(self, pod: Object, now: datetime) -> Object:
        containers = pod["spec"]["containers"]
        entries = [self.lives[each["name"]].told(each, now) for each in containers]
        ready = all(each["ready"] for each in entries)
        begun = all(each.started is not None for each in self.lives.values())
        told: Object = {
            **pod["status"],
            "phase": "Running" if begun else "Pending",
            "hostIP": "127.0.0.1",
            "startTime": pod["status"].get("startTime", stamp(now)),
            "conditions": conditions(pod, now, ready=ready),
            "containerStatuses": entries,
        }
        for each in self.lives.values():
            if each.container is not None:
                told |= {"podIP": each.container.address, "podIPs": [{"ip": each.container.address}]}
        return told


def conditions(pod: Object, now: datetime, *, ready: bool) -> list[Object]:
    """Each with the moment since which it has been so."""
    had = {each["type"]: each for each in pod["status"].get("conditions", [])}
    told = []
    for type, is_so in (("Initialized", True), ("Ready", ready), ("ContainersReady", ready), ("PodScheduled", True)):
        new = {"type": type, "status": str(is_so), "lastTransitionTime": stamp(now)}
        told.append(had[type] if type in had and had[type]["status"] == new["status"] else new)
    return told
