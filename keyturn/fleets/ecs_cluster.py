"""What ECS tells of services and their tasks, by the calls that read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from keyturn.errors import NotFoundError
from keyturn.fleets.ecs_answers import Service, Task, service_of, task_of
from keyturn.fleets.ecs_calls import Answer, ECSCalls, not_ecs
from keyturn.fleets.ecs_definitions import Definition, definition_of
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.json_object import UnreadableError

_MOST_TASKS = 100  # in one DescribeTasks

T = TypeVar("T")


class ECSCluster:
    """The services of one cluster. Nothing is remembered but task definitions: a revision of one never changes."""

    def __init__(self, settings: ECSSettings, calls: ECSCalls) -> None:
        self._settings, self.calls = settings, calls
        self._definitions: dict[str, Definition] = {}

    async def definition(self, service: Service) -> Definition:
        """That of its newest deployment. Of a deployment that is being replaced, tasks are told by their age."""
        primary = service.primary
        if primary is None:
            raise NotFoundError(f"the service {service.name} has no deployment", remedy="look at it in ECS")
        if (arn := primary.definition) not in self._definitions:
            answer = await self.calls.call("DescribeTaskDefinition", taskDefinition=arn)
            try:
                self._definitions[arn] = definition_of(answer.get("taskDefinition"), self._settings.container)
            except UnreadableError:
                raise not_ecs("DescribeTaskDefinition") from None
        return self._definitions[arn]

    async def service(self, name: str) -> Service:
        return self.told(await self.describe(name))

    def told(self, answer: Answer) -> Service:
        """By an answer of `describe`."""
        (found,) = _read(answer, "DescribeServices", "services", service_of)
        return found

    async def describe(self, name: str) -> Answer:
        """Of one service, with its tags. NotFoundError where there is none of that name."""
        answer = await self.calls.call("DescribeServices", cluster=self._settings.cluster, services=[name], include=["TAGS"])
        services = answer.get("services")
        if not isinstance(services, list) or len(services) > 1:
            raise not_ecs("DescribeServices")
        if not services:
            raise NotFoundError(
                f"there is no service {name} in the cluster {self._settings.cluster_name}",
                remedy="check cluster, services and region, and whose account it is",
            )
        return answer

    async def tasks(self, service: str) -> Sequence[Task]:
        """All that ECS still tells of, those that it has told to stop included."""
        arns: dict[str, None] = {}
        for status in ("RUNNING", "STOPPED"):
            arns |= dict.fromkeys(
                await self.calls.pages(
                    "ListTasks", "taskArns", cluster=self._settings.cluster, serviceName=service, desiredStatus=status
                )
            )
        found = list(arns)
        return [
            task
            for first in range(0, len(found), _MOST_TASKS)
            for task in await self.described(found[first : first + _MOST_TASKS])
        ]

    async def described(self, arns: Sequence[str]) -> Sequence[Task]:
        answer = await self.calls.call("DescribeTasks", cluster=self._settings.cluster, tasks=list(arns))
        return _read(answer, "DescribeTasks", "tasks", task_of)


def _read(answer: Answer, operation: str, name: str, parse: Callable[[Any], T]) -> Sequence[T]:
    found = answer.get(name)
    try:
        if isinstance(found, list):
            return [parse(each) for each in found]
    except UnreadableError:
        pass
    raise not_ecs(operation)
