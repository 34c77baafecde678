"""What would stop the roll of a service, or lose requests in it: from its settings, before it is rolled. Pure.

Percentages and defaults: botocore 1.44.5 (DeploymentConfiguration, ContainerDefinition). A target group's deregistration
delay is not ECS's to tell: docs/ecs.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keyturn.durations import text
from keyturn.fleets.ecs_answers import Service, Task
from keyturn.fleets.ecs_definitions import Definition
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.json_object import inside
from keyturn.model import Finding, SecretRef

_STOP_TIMEOUT = 30  # seconds, where a container says nothing
_GRACE = 60  # seconds: a proxy that has just been started may need as long until it answers
_MOST_TAGS = 50

Line = tuple[bool | None, str, str]


def obstacle(service: Service, definition: Definition, secrets: Sequence[SecretRef]) -> str:
    """Why a roll would not bring a new value, or could not be proved; "" where nothing stands in the way."""
    controller = inside(service.settings, "deploymentController", "type") or "ECS"
    strategy = inside(service.settings, "deploymentConfiguration", "strategy") or "ROLLING"
    pinned = [each for each in definition.of(secrets) if each.is_pinned]
    if service.status != "ACTIVE":
        return "it is not active"
    if controller != "ECS":
        return f"its deployment controller is {controller}: only ECS's own replaces tasks by itself"
    if strategy != "ROLLING":
        return f"its deployment strategy is {strategy}: only ROLLING is known here"
    if definition.network != "awsvpc":
        return f"its network mode is {definition.network}: its tasks have no address of their own to be asked at"
    if not definition.container:
        return "its task definition has no container of the name in keyturn.yaml"
    if pinned:
        names = ", ".join(each.variable for each in pinned)
        return f"its task definition names one version of the secret for {names}: a new value never reaches it"
    return ""


def findings(
    service: Service,
    definition: Definition,
    tasks: Sequence[Task],
    secrets: Sequence[SecretRef],
    tag: str,
    settings: ECSSettings,
) -> Sequence[Finding]:
    """False: it cannot be rolled, or requests fail whenever it is. None: they may, or it cannot be told."""
    stops = obstacle(service, definition, secrets)
    remedy = "name the secret without version and stage; awsvpc, ROLLING and the controller ECS are what is supported"
    lines: list[Line] = [(not stops, stops, remedy)]
    if not stops:
        lines += [*_reading(definition, secrets), *_capacity(service), *_stopping(definition, settings)]
        lines += _starting(service, definition)
    if tag not in service.tags and sum(not key.startswith("aws:") for key in service.tags) >= _MOST_TAGS:
        lines.append((False, f"it has {_MOST_TAGS} tags, and keyturn needs one", "remove a tag"))
    if service.desired and not tasks:
        lines.append((None, "no task of it runs", "look at its events"))
    return [Finding(f"ECS service {service.name} can be rolled", *line) for line in lines]


def _reading(definition: Definition, secrets: Sequence[SecretRef]) -> Iterator[Line]:
    if not definition.of(secrets):
        what = f"no variable of its tasks is filled from {', '.join(map(str, secrets))}"
        yield None, what, "a container that runs `keyturn exec` reads it by itself: ECS does not show that. Else name it"

    words = [*(definition.container.get("entryPoint") or []), *(definition.container.get("command") or [])]
    if any(str(word).partition("=")[0] == "--cache" for word in words):
        yield (
            None,
            "its container starts with --cache: without its store it may start with the key from before",
            "leave --cache out, or see that the file goes with the task",
        )


def _capacity(service: Service) -> Iterator[Line]:
    if not service.desired:
        yield None, "it is to have no task: there is nothing to prove there", "leave it out, or give it tasks"
        return
    daemon = service.settings.get("schedulingStrategy") == "DAEMON"
    given: Mapping[str, Any] = service.settings.get("deploymentConfiguration") or {}
    least = math.ceil(service.desired * given.get("minimumHealthyPercent", 0 if daemon else 100) / 100)
    most = math.floor(service.desired * given.get("maximumPercent", 100 if daemon else 200) / 100)
    if most <= service.desired and least >= service.desired:
        yield (
            False,
            "minimumHealthyPercent and maximumPercent let ECS neither stop a task nor start one more",
            "raise maximumPercent",
        )
    elif least == 0:
        yield False, "minimumHealthyPercent lets all of its tasks be stopped at once", "set it to 100"
    elif least < service.desired:
        yield None, f"{service.desired - least} of its {service.desired} tasks may be missing meanwhile", "set it to 100"
    if service.desired == 1:
        yield None, "it has one task: whatever stops that is an outage, also outside of a roll", "let it have two"


def _stopping(definition: Definition, settings: ECSSettings) -> Iterator[Line]:
    seconds, longest = definition.container.get("stopTimeout", _STOP_TIMEOUT), settings.longest_request
    if seconds < longest.total_seconds():
        yield (
            None,
            f"a task is killed {seconds}s after it was told to stop, and a request may take {text(longest)}",
            "raise stopTimeout of its container (120 is the most on Fargate), or say how long requests are: longest_request",
        )


def _starting(service: Service, definition: Definition) -> Iterator[Line]:
    balanced = bool(service.settings.get("loadBalancers"))
    if not inside(service.settings, "deploymentConfiguration", "deploymentCircuitBreaker", "enable"):
        yield (
            None,
            "its circuit breaker is off: when a roll fails ECS goes on starting tasks",
            "switch it on; keyturn itself gives up after failed_tasks failures in a row",
        )
    if not balanced and not definition.checked:
        yield (
            None,
            "nothing checks its tasks: ECS stops the old ones as soon as new ones run, ready or not",
            "give the container a healthCheck that asks /health/readiness",
        )
    if (balanced or definition.checked) and service.settings.get("healthCheckGracePeriodSeconds", 0) < _GRACE:
        yield (
            None,
            "healthCheckGracePeriodSeconds is short: a proxy that needs longer to start is stopped for it",
            f"set it to {_GRACE} or more, or give the healthCheck a startPeriod",
        )
