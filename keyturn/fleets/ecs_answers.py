"""Services, deployments and tasks as ECS describes them, read into values of our own.

Shapes, and what each field means: botocore 1.44.5 (service-2.json of ecs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

from keyturn.json_object import UnreadableError, mapping, plain_id, text

_LONGEST = 2048  # characters of an ARN
# The containers of such a task have stopped, and only its network interface is taken away (ECS developer guide, "Task
# lifecycle").
_GONE = frozenset({"DEPROVISIONING", "STOPPED", "DELETED"})
_NOT_YET = frozenset({"PROVISIONING", "PENDING"})


@dataclass(frozen=True, slots=True)
class Deployment:
    """`state`: its rolloutState; "" where ECS tells none, as behind a Classic Load Balancer."""

    id: str
    is_primary: bool
    definition: str
    state: str
    created: datetime
    desired: int
    running: int
    pending: int
    failed: int


@dataclass(frozen=True, slots=True)
class Service:
    """`settings`: the whole description, for what is only looked at once."""

    name: str
    arn: str
    status: str
    desired: int
    deployments: Sequence[Deployment]
    tags: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def primary(self) -> Deployment | None:
        return next((each for each in self.deployments if each.is_primary), None)


@dataclass(frozen=True, slots=True)
class Task:
    """`created`: when it began to be started, None before that. `stays`: ECS has not told it to stop."""

    arn: str
    status: str
    stays: bool
    created: datetime | None
    address: str
    health: str
    stop_code: str

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def is_gone(self) -> bool:
        return self.status in _GONE

    @property
    def may_serve(self) -> bool:
        """Its containers run, or may."""
        return self.status not in _GONE | _NOT_YET


def service_of(value: Any) -> Service:
    """UnreadableError for anything else."""
    found = mapping(value)
    return Service(
        name=plain_id(found.get("serviceName"), 255),
        arn=plain_id(found.get("serviceArn"), _LONGEST),
        status=plain_id(found.get("status")),
        desired=_count(found.get("desiredCount")),
        deployments=tuple(_deployment(each) for each in _items(found.get("deployments", []))),
        tags={text(each.get("key")): str(each.get("value") or "") for each in map(mapping, _items(found.get("tags", [])))},
        settings=found,
    )


def task_of(value: Any) -> Task:
    found = mapping(value)
    created = found.get("createdAt")
    return Task(
        arn=plain_id(found.get("taskArn"), _LONGEST),
        status=plain_id(found.get("lastStatus")),
        stays=found.get("desiredStatus") == "RUNNING",
        created=None if created is None else _moment(created),
        address=_address(found),
        health=plain_id(found.get("healthStatus", "UNKNOWN")),
        stop_code=plain_id(found.get("stopCode") or "-"),
    )


def _deployment(value: Any) -> Deployment:
    found = mapping(value)
    return Deployment(
        id=plain_id(found.get("id")),
        is_primary=found.get("status") == "PRIMARY",
        definition=plain_id(found.get("taskDefinition"), _LONGEST),
        state=str(found.get("rolloutState") or ""),
        created=_moment(found.get("createdAt")),
        desired=_count(found.get("desiredCount")),
        running=_count(found.get("runningCount")),
        pending=_count(found.get("pendingCount")),
        failed=_count(found.get("failedTasks", 0)),
    )


def _address(task: Mapping[str, Any]) -> str:
    """Its own, of network mode awsvpc; "" where it has none, or none yet."""
    for attachment in map(mapping, _items(task.get("attachments", []))):
        if attachment.get("type") == "ElasticNetworkInterface":
            for detail in map(mapping, _items(attachment.get("details", []))):
                if detail.get("name") == "privateIPv4Address":
                    return _ip(detail.get("value"))
    return ""


def _ip(value: Any) -> str:
    """A call with the master key goes there: nothing else is taken for an address."""
    try:
        return str(IPv4Address(text(value)))
    except ValueError:
        raise UnreadableError from None


def _items(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise UnreadableError
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UnreadableError
    return value


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise UnreadableError
    return value
