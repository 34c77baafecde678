"""The service scheduler of the ECS double: deployments that start and stop tasks, and give up, or go back.

One step at a time, on a clock that is told how late it is; nothing here waits. After the ECS developer guide (rolling
deployment, task lifecycle, circuit breaker); what was never compared with AWS stands in docs/testing.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Protocol

from keyturn.testing.ecs_state import ACCOUNT, REGION, Deployment, Service, Task

_STEP = {"PROVISIONING": 2.0, "PENDING": 3.0, "ACTIVATING": 2.0, "DEPROVISIONING": 5.0}  # seconds
_LEAST_FAILURES, _MOST_FAILURES = 3, 200  # of the circuit breaker, with half of the desired count in between
_STOP_TIMEOUT = 30.0
BY_HAND = "UserInitiated"  # TaskStopCode of botocore 1.44.5, of what StopTask has stopped


class Lives(Protocol):
    """What is in the tasks."""

    def begin(self, task: Task) -> None:
        """Its containers are started: its secrets are read now. LookupError where one cannot be read."""

    def is_ready(self, task: Task) -> bool:
        """What its health check says."""

    def has_ended(self, task: Task) -> bool:
        """Whether its program is no longer there."""

    def end(self, task: Task, *, at_once: bool) -> None:
        """SIGTERM, or SIGKILL."""


class Scheduler:
    """Services and tasks of one cluster. `unhealthy_after`: seconds that a task may go without being ready.

    `deregistration_delay`: seconds of the target group that a task which the scheduler stops is in DEACTIVATING: out of the
    balancer, and told nothing. What StopTask stops is told to end at once.
    """

    def __init__(self, cluster: str, lives: Lives, now: float, unhealthy_after: float = 60.0) -> None:
        self.cluster, self.lives, self.now = cluster, lives, now
        self.unhealthy_after, self.deregistration_delay = unhealthy_after, 2.0
        self.services: dict[str, Service] = {}
        self.tasks: list[Task] = []
        self.stop_timeouts: dict[str, float] = {}  # of a task definition
        self._numbers = itertools.count(1)

    def deploy(self, service: Service, definition: str, reason: str = "") -> Deployment:
        """A new PRIMARY deployment; those that were there are ACTIVE until their tasks are gone."""
        number = next(self._numbers)
        for each in service.deployments:
            each.status = "ACTIVE"
        made = Deployment(f"ecs-svc/{number:019d}", definition, self.now, reason=reason or "in progress")
        service.deployments.insert(0, made)
        return made

    def step(self, now: float) -> None:
        """What has happened until then."""
        self.now = now
        for task in self.tasks:
            self._live(task)
        for service in self.services.values():
            if service.status == "ACTIVE":
                self._schedule(service)

    def live(self, service: str) -> list[Task]:
        return [task for task in self.tasks if task.service == service and not task.is_over]

    def stop(self, task: Task, code: str, reason: str) -> None:
        """Tell it to stop. What becomes of it shows later."""
        if task.desired == "RUNNING":
            task.desired, task.stop_code, task.reason = "STOPPED", code, reason

    def _live(self, task: Task) -> None:
        waited = self.now - task.since
        match task.status:
            case "PROVISIONING" if waited >= _STEP["PROVISIONING"]:
                task.created = self.now
                task.address = self._address()
                self._go(task, "PENDING")
            case "PENDING" if task.desired == "STOPPED":
                self._go(task, "DEPROVISIONING")
            case "PENDING" if waited >= _STEP["PENDING"]:
                try:
                    self.lives.begin(task)
                except LookupError:
                    self.stop(task, "TaskFailedToStart", "ResourceInitializationError: unable to pull secrets")
                    self._go(task, "DEPROVISIONING")
                else:
                    self._go(task, "ACTIVATING")
            case "ACTIVATING" if waited >= _STEP["ACTIVATING"]:
                task.started = self.now
                self._go(task, "RUNNING")
            case "RUNNING":
                self._run(task)
            case "DEACTIVATING" if waited >= (0.0 if task.stop_code == BY_HAND else self.deregistration_delay):
                self._go(task, "STOPPING")
                self.lives.end(task, at_once=False)
            case "STOPPING":
                if waited >= self.stop_timeouts.get(task.definition, _STOP_TIMEOUT):
                    self.lives.end(task, at_once=True)
                if self.lives.has_ended(task):
                    self._go(task, "DEPROVISIONING")
            case "DEPROVISIONING" if waited >= _STEP["DEPROVISIONING"]:
                task.stopped = self.now
                self._go(task, "STOPPED")

    def _run(self, task: Task) -> None:
        if self.lives.has_ended(task):
            self.stop(task, "EssentialContainerExited", "Essential container in task exited")
            self._go(task, "DEPROVISIONING")
        elif task.desired == "STOPPED":
            self._go(task, "DEACTIVATING")
        elif self.lives.is_ready(task):
            task.health, task.was_healthy, task.ready_at = "HEALTHY", True, self.now
        elif self.now - max(task.since, task.ready_at) >= self.unhealthy_after:
            task.health = "UNHEALTHY"
            self.stop(task, "ServiceSchedulerInitiated", "Task failed container health checks")

    def _go(self, task: Task, status: str) -> None:
        task.status, task.since = status, self.now

    def _schedule(self, service: Service) -> None:
        primary, live = service.primary, self.live(service.name)
        self._count_failures(service)
        if primary.state == "FAILED" or self._gives_up(service):
            return
        ours = [task for task in live if task.deployment == primary.id and task.counts]
        most = math.floor(service.desired * service.percent("maximumPercent", 200) / 100)
        least = math.ceil(service.desired * service.percent("minimumHealthyPercent", 100) / 100)
        room = max(0, most - sum(task.counts for task in live))
        for _ in range(min(room, service.desired - len(ours))):
            self._start(service)
        for task in ours[service.desired :]:
            self.stop(task, "ServiceSchedulerInitiated", "Scaling activity initiated by deployment")
        self._stop_old(service, live, least)
        self._complete(service)

    def _stop_old(self, service: Service, live: list[Task], least: int) -> None:
        up = sum(task.is_up for task in live)
        for task in [task for task in live if task.deployment != service.primary.id and task.counts]:
            if task.is_up and up <= least:
                continue
            up -= task.is_up
            self.stop(task, "ServiceSchedulerInitiated", "Scaling activity initiated by deployment")

    def _start(self, service: Service) -> None:
        primary, number = service.primary, next(self._numbers)
        name = f"{number:032x}"
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{self.cluster}/{name}"
        self.tasks.append(Task(arn, service.name, primary.id, primary.id, primary.definition, self.now))

    def _complete(self, service: Service) -> None:
        live, primary = self.live(service.name), service.primary
        up = [task for task in live if task.is_up and task.deployment == primary.id]
        if len(up) == service.desired and not [task for task in live if task.counts and task not in up]:
            if primary.state == "IN_PROGRESS":
                primary.state, service.completed = "COMPLETED", primary.id
            service.deployments = [primary]

    def _count_failures(self, service: Service) -> None:
        for deployment in service.deployments:
            mine = [task for task in self.tasks if task.started_by == deployment.id]
            if any(task.was_healthy for task in mine):
                deployment.failed = 0
            else:
                deployment.failed = sum(task.is_over or task.desired == "STOPPED" for task in mine)

    def _gives_up(self, service: Service) -> bool:
        primary, most = service.primary, max(_LEAST_FAILURES, math.ceil(service.desired / 2))
        if not service.breaker.get("enable") or primary.failed < min(most, _MOST_FAILURES):
            return False
        primary.state, primary.reason = "FAILED", "ECS deployment circuit breaker: tasks failed to start."
        for task in self._of(service, primary):
            self.stop(task, "ServiceSchedulerInitiated", "Task stopped by the circuit breaker")
        back = next((each for each in service.deployments if each.id == service.completed), None)
        if service.breaker.get("rollback") and back is not None:
            reason = f"ECS deployment circuit breaker: rolling back to deploymentId {back.id}."
            made = self.deploy(service, back.definition, reason)
            made.adopted = back.id
            for task in self._of(service, back):
                task.deployment = made.id
            service.deployments.remove(back)
        return True

    def _of(self, service: Service, deployment: Deployment) -> Iterator[Task]:
        return (task for task in self.live(service.name) if task.deployment == deployment.id)

    def _address(self) -> str:
        """One of its own, on loopback: every task may use the same port."""
        number = next(self._numbers)
        return f"127.{50 + number // 62500}.{number // 250 % 250}.{2 + number % 250}"
