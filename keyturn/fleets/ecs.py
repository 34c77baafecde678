"""LiteLLM as services of Amazon ECS: rolled by a forced deployment, which replaces every task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

import httpx

from keyturn.durations import text
from keyturn.errors import (
    ConflictError,
    KeyturnError,
    MisconfiguredError,
    RetryableError,
    RollFailedError,
    UnavailableError,
)
from keyturn.fleets.ecs_answers import Service, Task
from keyturn.fleets.ecs_calls import ECSCalls, aws_time
from keyturn.fleets.ecs_cluster import ECSCluster
from keyturn.fleets.ecs_permissions import permissions
from keyturn.fleets.ecs_preflight import findings, obstacle
from keyturn.fleets.ecs_rollout import Begun, Roll, begun, is_done, named_by, tag_key
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.http_answers import no_cookies
from keyturn.model import Finding, Member, SecretRef, VersionRef
from keyturn.references import Resolver

_ANSWER = 5.0  # seconds
_TICK = timedelta(seconds=1)  # AWS tells its time in whole seconds
_AGAIN = "look at the service's events; once it can start tasks, force a deployment by hand, and run again"

Pause = Callable[[float], Awaitable[None]]


class ECSFleet:
    """Tasks of services with the rolling deployment of ECS itself, in network mode awsvpc. A fleet that is `Replacing`.

    Permission needed: `CALLS`. ECS keeps no promise to show at once what was done (RunTask in botocore 1.44.5): whatever
    is decided by what it shows is harmless where that was old.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("secrets",)
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "members": ("ListTasks, DescribeTasks", "ecs:ListTasks, ecs:DescribeTasks"),
        "serving": ("DescribeServices, DescribeTasks", "ecs:DescribeServices, ecs:DescribeTasks"),
        "was_rolled": (
            "DescribeServices, DescribeTaskDefinition",
            "ecs:DescribeServices, ecs:DescribeTaskDefinition",
        ),
        "replace": ("TagResource, UpdateService with forceNewDeployment", "ecs:TagResource, ecs:UpdateService"),
    }
    Settings = ECSSettings

    def __init__(
        self,
        settings: ECSSettings,
        resolve: Resolver,
        secrets: Callable[[str], Sequence[SecretRef]],
        pause: Pause = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        is_ready: Callable[[Member], Awaitable[bool]] | None = None,
    ) -> None:
        """`secrets`: those of a credential. `is_ready`: whether a member that has just been started answers."""
        self.settings = settings
        self._calls, self._resolve, self._secrets = ECSCalls(settings, resolve), resolve, secrets
        self._cluster = ECSCluster(settings, self._calls)
        self._pause, self._clock, self._is_ready = pause, clock, is_ready or self._answers
        self._http = httpx.AsyncClient(timeout=_ANSWER, trust_env=False, cookies=no_cookies())

    async def workloads(self) -> Sequence[str]:
        return self.settings.services

    async def members(self) -> Sequence[Member]:
        """Tasks whose containers may run, stopping ones included."""
        return [
            self._member(service, task)
            for service in self.settings.services
            for task in await self._cluster.tasks(service)
            if task.may_serve
        ]

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the service's tag names, of a task that was created since; None of any other.

        That a task has read what was CURRENT when it was created is ECS's word. Whoever compares it with CURRENT asks
        `was_rolled` too: what was promoted after the rollout that the tag names, this does not tell.
        """
        try:
            service = await self._cluster.service(member.name.partition("/")[0])
            note = await self._begun(service, credential)
            (task,) = await self._cluster.described([member.control])
        except (KeyturnError, ValueError):
            return None
        if note is None or not note.is_of(task) or not task.may_serve:
            return None
        return VersionRef("", note.rollout.partition(".")[0])

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        raise MisconfiguredError(f"{member.name} is replaced by ECS, not rolled by itself")

    async def was_rolled(self, workload: str, credential: str, rollout: str) -> bool:
        """Whether the tag names it, and a deployment that is not older than that is PRIMARY."""
        note = await self._begun(await self._cluster.service(workload), credential)
        return note is not None and note.rollout == rollout

    async def replace(
        self, workload: str, credential: str, version: VersionRef, rollout: str, proved: Callable[[Member], Awaitable[None]]
    ) -> None:
        """Tag the service, force a deployment, and wait. Where the deployment was begun already, only wait.

        A worker that was stalled right before UpdateService makes one deployment more: ECS has no condition for it. It is
        harmless, for its tasks read what is CURRENT then.
        """
        ends = self._clock() + self.settings.roll_timeout.total_seconds()
        service = await self._cluster.service(workload)
        if why := await self._obstacle(service, credential):
            raise RollFailedError(f"{workload} cannot be rolled: {why}", remedy="`keyturn doctor` tells more")
        note = begun(service, credential)
        if note is None or note.rollout != rollout:
            note = await self._begin(service, credential, rollout)
        await self._wait(workload, credential, note, proved, ends)

    async def preflight(self, credential: str) -> Sequence[Finding]:
        """UnavailableError while a service is being deployed by somebody."""
        found: list[Finding] = []
        arns: list[str] = []
        for name in self.settings.services:
            service = await self._cluster.service(name)
            primary = service.primary
            if primary is not None and primary.state == "IN_PROGRESS":
                raise UnavailableError(f"{name} is being deployed", remedy="wait until that is over, or look why it is not")
            definition = await self._cluster.definition(service)
            tasks = [task for task in await self._cluster.tasks(name) if task.may_serve]
            secrets = self._secrets(credential)
            arns.append(service.arn)
            found += findings(service, definition, tasks, secrets, tag_key(credential), self.settings)
        if self.settings.check_permissions:
            found += await permissions(self.settings, self._resolve, arns, tag_key(credential))
        return found

    async def aclose(self) -> None:
        await self._calls.aclose()
        await self._http.aclose()

    async def _begin(self, service: Service, credential: str, rollout: str) -> Begun:
        """What the tag says in the end. `since` is after what was promoted, and before the deployment that is asked for.

        A tag that another worker wrote for this rollout stays: what it has begun is not to be taken for older than it.
        """
        answer = await self._cluster.describe(service.name)
        service = self._cluster.told(answer)
        if service.primary is None:
            raise RollFailedError(f"{service.name} has no deployment that could be repeated", remedy=_AGAIN)
        there = named_by(service, credential)
        note = there
        if note is None or note.rollout != rollout:
            note = Begun(rollout, service.primary.id, aws_time(answer) + _TICK)
            tag = {"key": tag_key(credential), "value": str(note)}
            await self._calls.call("TagResource", resourceArn=service.arn, tags=[tag])
        await self._pause(2 * _TICK.total_seconds())
        seen = await self._cluster.service(service.name)
        named = named_by(seen, credential)
        if named is None or named == there != note:
            raise UnavailableError(
                f"the tag {tag_key(credential)} of {service.name} does not show yet",
                remedy="run again; where it never does, look who takes tags away",
            )
        self._demand_same(seen, credential, note)
        if begun(seen, credential) is None:
            await self._calls.call(
                "UpdateService", cluster=self.settings.cluster, service=service.name, forceNewDeployment=True
            )
        return named

    async def _wait(
        self, workload: str, credential: str, note: Begun, proved: Callable[[Member], Awaitable[None]], ends: float
    ) -> None:
        roll = Roll(note, self.settings.failed_tasks)
        why = "no deployment was seen"
        while True:
            try:
                service, tasks = await self._cluster.service(workload), await self._cluster.tasks(workload)
                self._demand_same(service, credential, note)
                if words := roll.trouble(service, tasks):
                    raise RollFailedError(f"{workload}: {words}", remedy=_AGAIN)
                done = is_done(service, tasks, note)
                for task in roll.unproved(tasks):
                    if done or await self._has_come(service, task):
                        await proved(self._member(workload, task))
                        roll.proved.add(task.arn)
                if done:
                    return
                old = sum(not note.is_of(task) for task in tasks if not task.is_gone)
                why = f"{old} tasks from before are left, {len(roll.proved)} new ones answer"
            except RetryableError as error:  # AWS is asked again and again: that it fails once ends no roll
                why = error.message
            if self._clock() >= ends:
                raise RollFailedError(
                    f"{workload} is not replaced after {text(self.settings.roll_timeout)} ({why})",
                    remedy=f"{_AGAIN}; or raise roll_timeout",
                )
            await self._pause(self.settings.poll_interval.total_seconds())

    def _demand_same(self, service: Service, credential: str, note: Begun) -> None:
        """Whoever rolls it to a later value has the service from now on. That a tag was taken away is no matter."""
        named = named_by(service, credential)
        if named is not None and named.rollout != note.rollout:
            raise ConflictError(f"another run rolls {service.name} to another value", remedy="run again")

    async def _has_come(self, service: Service, task: Task) -> bool:
        """It runs, is healthy where ECS checks that, and answers."""
        checked = (await self._cluster.definition(service)).checked
        if task.status != "RUNNING" or (task.health != "HEALTHY" and (checked or task.health == "UNHEALTHY")):
            return False
        return await self._is_ready(self._member(service.name, task))

    async def _answers(self, member: Member) -> bool:
        try:
            async with self._http.stream("GET", f"{member.url}/health/readiness") as answer:
                return answer.status_code == 200
        except httpx.HTTPError:
            return False

    async def _begun(self, service: Service, credential: str) -> Begun | None:
        """As the tag says, where what the service starts can have read it."""
        note = begun(service, credential)
        return None if note is None or await self._obstacle(service, credential) else note

    async def _obstacle(self, service: Service, credential: str) -> str:
        return obstacle(service, await self._cluster.definition(service), self._secrets(credential))

    def _member(self, service: str, task: Task) -> Member:
        if not task.address:
            raise MisconfiguredError(
                f"the task {task.id} of {service} has no address of its own",
                remedy="use network mode awsvpc: keyturn asks each task directly",
            )
        return Member(f"{service}/{task.id}", f"http://{task.address}:{self.settings.port}", task.arn)
