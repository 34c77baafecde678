"""What the ECS double keeps: services, deployments and tasks, and how each is described in an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REGION, ACCOUNT = "us-east-1", "123456789012"


def arn(kind: str, name: str) -> str:
    return f"arn:aws:ecs:{REGION}:{ACCOUNT}:{kind}/{name}"


@dataclass
class Deployment:
    """`adopted`: of a way back, the deployment whose tasks it took over. Times are the double's seconds."""

    id: str
    definition: str
    created: float
    status: str = "PRIMARY"
    state: str = "IN_PROGRESS"
    reason: str = ""
    failed: int = 0
    failures: int = 0
    adopted: str = ""


@dataclass
class Task:
    """One task. `since`: when it came to `status`. `deployment`: whose it counts as; `started_by`: who started it.

    `ready_at`: when its health check was content last.
    """

    arn: str
    service: str
    deployment: str
    started_by: str
    definition: str
    since: float
    status: str = "PROVISIONING"
    desired: str = "RUNNING"
    address: str = ""
    health: str = "UNKNOWN"
    created: float | None = None
    started: float | None = None
    stopped: float | None = None
    stop_code: str = ""
    reason: str = ""
    was_healthy: bool = False
    ready_at: float = 0.0

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def is_over(self) -> bool:
        return self.status == "STOPPED"

    @property
    def counts(self) -> bool:
        """Towards maximumPercent: RUNNING, or on its way there."""
        return self.desired == "RUNNING" and not self.is_over

    @property
    def is_pending(self) -> bool:
        return self.counts and self.status != "RUNNING"

    @property
    def is_up(self) -> bool:
        return self.counts and self.status == "RUNNING" and self.health != "UNHEALTHY" and self.was_healthy


@dataclass
class Service:
    """`settings`: what CreateService was given, and UpdateService changed."""

    name: str
    cluster: str
    desired: int
    settings: dict[str, Any]
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    completed: str = ""  # the deployment that was completed last
    status: str = "ACTIVE"

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def percent(self, name: str, otherwise: int) -> int:
        given: Mapping[str, int] = self.settings.get("deploymentConfiguration", {})
        return given.get(name, otherwise)

    @property
    def breaker(self) -> Mapping[str, bool]:
        given: Mapping[str, Any] = self.settings.get("deploymentConfiguration", {})
        found: Mapping[str, bool] = given.get("deploymentCircuitBreaker", {})
        return found


def described(service: Service, tasks: list[Task], *, tags: bool) -> dict[str, Any]:
    """As DescribeServices has it."""
    mine = [task for task in tasks if task.service == service.name]
    found = {
        "serviceArn": arn("service", f"{service.cluster}/{service.name}"),
        "serviceName": service.name,
        "clusterArn": arn("cluster", service.cluster),
        "status": service.status,
        "desiredCount": service.desired,
        "runningCount": sum(task.counts and task.status == "RUNNING" for task in mine),
        "pendingCount": sum(task.is_pending for task in mine),
        "taskDefinition": service.primary.definition,
        "deployments": [_deployment(service, each, mine) for each in service.deployments],
        "events": [],
        "createdAt": service.created,
        "schedulingStrategy": "REPLICA",
        "launchType": "FARGATE",
        "deploymentController": {"type": "ECS"},
        **service.settings,
    }
    if tags:
        found["tags"] = [{"key": key, "value": value} for key, value in service.tags.items()]
    return found


def _deployment(service: Service, deployment: Deployment, tasks: list[Task]) -> dict[str, Any]:
    mine = [task for task in tasks if task.deployment == deployment.id]
    return {
        "id": deployment.id,
        "status": deployment.status,
        "taskDefinition": deployment.definition,
        "desiredCount": service.desired if deployment is service.primary else 0,
        "pendingCount": sum(task.is_pending for task in mine),
        "runningCount": sum(task.counts and task.status == "RUNNING" for task in mine),
        "failedTasks": deployment.failed,
        "createdAt": deployment.created,
        "updatedAt": deployment.created,
        "launchType": "FARGATE",
        "rolloutState": deployment.state,
        "rolloutStateReason": deployment.reason,
    }


def described_task(task: Task, cluster: str) -> dict[str, Any]:
    """As DescribeTasks has it."""
    found: dict[str, Any] = {
        "taskArn": task.arn,
        "clusterArn": arn("cluster", cluster),
        "taskDefinitionArn": task.definition,
        "group": f"service:{task.service}",
        "startedBy": task.started_by,
        "lastStatus": task.status,
        "desiredStatus": task.desired,
        "healthStatus": task.health,
        "launchType": "FARGATE",
        "containers": [],
        "attachments": [],
        "version": 1,
    }
    moments = {"createdAt": task.created, "startedAt": task.started, "stoppedAt": task.stopped}
    found |= {name: moment for name, moment in moments.items() if moment is not None}
    if task.address:
        details = [{"name": "privateIPv4Address", "value": task.address}]
        status = "DELETED" if task.is_over else "ATTACHED"
        found["attachments"] = [
            {"id": f"eni-{task.name}", "type": "ElasticNetworkInterface", "status": status, "details": details}
        ]
    if task.stop_code:
        found |= {"stopCode": task.stop_code, "stoppedReason": task.reason}
    return found
