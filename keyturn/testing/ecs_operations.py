"""The operations of ECS that the double knows, over its scheduler."""

from __future__ import annotations

import re
from typing import Any

from keyturn.testing.ecs_scheduler import BY_HAND, Scheduler
from keyturn.testing.ecs_state import Service, arn, described, described_task

Body = dict[str, Any]
_KEPT: tuple[str, ...] = (
    *("deploymentConfiguration", "healthCheckGracePeriodSeconds", "loadBalancers"),
    *("deploymentController", "schedulingStrategy", "networkConfiguration"),
)
_TAG = re.compile(r"[\w .:/=+@-]*")
_MOST_TAGS, _LONGEST_KEY, _LONGEST_VALUE = 50, 128, 256
_MOST_TASKS, _MOST_SERVICES = 100, 10


class RefusedError(Exception):
    """`code`: AWS's."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class Operations:
    """One cluster. `page`: so many tasks stand on a page of ListTasks."""

    def __init__(self, scheduler: Scheduler, page: int = _MOST_TASKS) -> None:
        self.scheduler, self.page = scheduler, page
        self.definitions: dict[str, Body] = {}

    def answer(self, operation: str, body: Body) -> Body:
        """RefusedError, with ECS's code, where it would say no."""
        known = {
            "RegisterTaskDefinition": self.register,
            "DescribeTaskDefinition": self.definition,
            "CreateService": self.create,
            "UpdateService": self.update,
            "DescribeServices": self.describe,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
            "ListTasks": self.list,
            "DescribeTasks": self.tasks,
            "StopTask": self.stop,
        }
        if operation not in known:
            raise RefusedError("UnsupportedFeatureException", f"the double does not know {operation}")
        if "cluster" in body and body["cluster"].rpartition("/")[2] != self.scheduler.cluster:
            raise RefusedError("ClusterNotFoundException", "Cluster not found.")
        return known[operation](body)

    def register(self, body: Body) -> Body:
        family = body["family"]
        number = sum(each["family"] == family for each in self.definitions.values()) + 1
        name = arn("task-definition", f"{family}:{number}")
        made = {**body, "taskDefinitionArn": name, "revision": number, "status": "ACTIVE"}
        self.definitions[name] = made
        for container in body["containerDefinitions"]:
            if "stopTimeout" in container:
                self.scheduler.stop_timeouts[name] = container["stopTimeout"]
        return {"taskDefinition": made}

    def definition(self, body: Body) -> Body:
        return {"taskDefinition": self.definitions[self._definition(body["taskDefinition"])]}

    def create(self, body: Body) -> Body:
        settings = {name: body[name] for name in _KEPT if name in body}
        tags = {each["key"]: each.get("value", "") for each in body.get("tags", [])}
        service = Service(
            body["serviceName"], self.scheduler.cluster, body.get("desiredCount", 1), settings, self.scheduler.now, tags
        )
        self.scheduler.services[service.name] = service
        self.scheduler.deploy(service, self._definition(body["taskDefinition"]))
        return {"service": described(service, self.scheduler.tasks, tags=True)}

    def update(self, body: Body) -> Body:
        service = self._service(body["service"])
        if service.status != "ACTIVE":
            raise RefusedError("ServiceNotActiveException")
        service.settings |= {name: body[name] for name in _KEPT if name in body}
        service.desired = body.get("desiredCount", service.desired)
        definition = self._definition(body.get("taskDefinition", service.primary.definition))
        if body.get("forceNewDeployment") or definition != service.primary.definition:
            self.scheduler.deploy(service, definition)
        return {"service": described(service, self.scheduler.tasks, tags=False)}

    def describe(self, body: Body) -> Body:
        if len(body["services"]) > _MOST_SERVICES:
            raise RefusedError("InvalidParameterException", "Services cannot have more than 10 elements.")
        found, failures = [], []
        for name in body["services"]:
            service = self.scheduler.services.get(name.rpartition("/")[2])
            if service is None:
                failures.append({"arn": arn("service", f"{self.scheduler.cluster}/{name}"), "reason": "MISSING"})
            else:
                tags = "TAGS" in body.get("include", [])
                found.append(described(service, self.scheduler.tasks, tags=tags))
        return {"services": found, "failures": failures}

    def tag(self, body: Body) -> Body:
        service = self._tagged(body["resourceArn"])
        given = {each["key"]: each.get("value", "") for each in body["tags"]}
        for key, value in given.items():
            fits = len(key) <= _LONGEST_KEY and len(value) <= _LONGEST_VALUE
            if not fits or not _TAG.fullmatch(key + value) or key.lower().startswith("aws:"):
                raise RefusedError("InvalidParameterException", "the tag is not one")
        if len(service.tags | given) > _MOST_TAGS:
            raise RefusedError("LimitExceededException")
        service.tags |= given
        return {}

    def untag(self, body: Body) -> Body:
        service = self._tagged(body["resourceArn"])
        for key in body["tagKeys"]:
            service.tags.pop(key, None)
        return {}

    def tags(self, body: Body) -> Body:
        return {"tags": [{"key": key, "value": value} for key, value in self._tagged(body["resourceArn"]).tags.items()]}

    def list(self, body: Body) -> Body:
        status, name = body.get("desiredStatus", "RUNNING"), body.get("serviceName")
        found = [
            task.arn
            for task in self.scheduler.tasks
            if task.desired == status and (name is None or task.service == self._service(name).name)
        ]
        first = int(body.get("nextToken", 0))
        more = {"nextToken": str(first + self.page)} if first + self.page < len(found) else {}
        return {"taskArns": found[first : first + self.page], **more}

    def tasks(self, body: Body) -> Body:
        if not body["tasks"] or len(body["tasks"]) > _MOST_TASKS:
            raise RefusedError("InvalidParameterException", "Tasks must have 1 to 100 elements.")
        there = {task.arn: task for task in self.scheduler.tasks}
        return {
            "tasks": [described_task(there[each], self.scheduler.cluster) for each in body["tasks"] if each in there],
            "failures": [{"arn": each, "reason": "MISSING"} for each in body["tasks"] if each not in there],
        }

    def stop(self, body: Body) -> Body:
        task = next(task for task in self.scheduler.tasks if body["task"] in (task.arn, task.name))
        self.scheduler.stop(task, BY_HAND, body.get("reason", "Task stopped by user"))
        return {"task": described_task(task, self.scheduler.cluster)}

    def _service(self, name: str) -> Service:
        found = self.scheduler.services.get(name.rpartition("/")[2])
        if found is None:
            raise RefusedError("ServiceNotFoundException", "Service not found.")
        return found

    def _tagged(self, name: str) -> Service:
        if f":service/{self.scheduler.cluster}/" not in name:
            raise RefusedError("InvalidParameterException", "Long arn format must be used for tagging operations")
        return self._service(name)

    def _definition(self, name: str) -> str:
        if name in self.definitions:
            return name
        known = [each for each in self.definitions if re.search(rf"/{re.escape(name)}(:\d+)?$", each)]
        if not known:
            raise RefusedError("ClientException", "Unable to describe task definition.")
        return known[-1]
