"""What preflight finds in a service of ECS, from what ECS and IAM tell of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly import Adapters
from keyturn.config import load
from keyturn.fleets import ecs_permissions
from keyturn.fleets.ecs import ECSFleet
from keyturn.fleets.ecs_answers import service_of
from keyturn.fleets.ecs_definitions import definition_of
from keyturn.fleets.ecs_preflight import findings
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.model import SecretRef
from keyturn.references import resolver
from tests.fleets.ecs_scene import SECRET, SECRET_ARN, definition

SETTINGS: dict[str, Any] = {
    "region": "us-east-1",
    "cluster": "litellm",
    "services": ["gateway"],
    "port": 4000,
    "master_key": "env:MASTER",
    "longest_request": "90s",
}
PERCENTS = {"minimumHealthyPercent": 100, "maximumPercent": 200}
UPDATES = {"ecs:UpdateService": "allowed"}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def service(desired: int = 2, tags: int = 0, **more: Any) -> dict[str, Any]:
    deployment = {
        "id": "ecs-svc/1",
        "status": "PRIMARY",
        "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/litellm:1",
        "rolloutState": "COMPLETED",
        "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
        "desiredCount": desired,
        "runningCount": desired,
        "pendingCount": 0,
        "failedTasks": 0,
    }
    return {
        "serviceName": "gateway",
        "serviceArn": "arn:aws:ecs:us-east-1:123456789012:service/litellm/gateway",
        "status": "ACTIVE",
        "desiredCount": desired,
        "deployments": [deployment],
        "deploymentConfiguration": {**PERCENTS, **BREAKER},
        "healthCheckGracePeriodSeconds": 120,
        "tags": [{"key": f"k{number}", "value": ""} for number in range(tags)],
        **more,
    }


def told(found: dict[str, Any], defined: dict[str, Any] | None = None, secret: SecretRef = SECRET) -> dict[str, bool | None]:
    """What is not well, by its words."""
    given = definition_of(defined or definition(), None)
    settings = ECSSettings.model_validate(SETTINGS)
    every = findings(service_of(found), given, [], [secret], "keyturn:openai-prod", settings)
    return {each.detail: each.ok for each in every if each.ok is not True and each.detail != "no task of it runs"}


def test_a_service_that_is_set_up_well_has_nothing_told_of_it() -> None:
    assert told(service()) == {}


@pytest.mark.parametrize(
    ("found", "words", "ok"),
    [
        (service(deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 0}), "all of its tasks be stopped", False),
        (service(deploymentConfiguration={**BREAKER, **PERCENTS, "maximumPercent": 100}), "neither stop a task", False),
        (service(1, deploymentConfiguration={**BREAKER, **PERCENTS, "maximumPercent": 150}), "neither stop a task", False),
        (service(4, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 50}), "2 of its 4 tasks", None),
        (service(1), "it has one task", None),
        (service(0), "nothing to prove there", None),
        (service(deploymentConfiguration=PERCENTS), "circuit breaker is off", None),
        (service(healthCheckGracePeriodSeconds=0), "healthCheckGracePeriodSeconds is short", None),
        (service(tags=50), "it has 50 tags", False),
        (service(status="DRAINING"), "it is not active", False),
    ],
)
def test_what_stops_a_roll_or_loses_requests_in_it(found: dict[str, Any], words: str, ok: bool | None) -> None:
    assert [each for detail, each in told(found).items() if words in detail] == [ok]


@pytest.mark.parametrize(
    ("defined", "words", "ok"),
    [
        (definition(networkMode="bridge"), "network mode is bridge", False),
        (definition(f"{SECRET_ARN}:OPENAI_API_KEY:AWSPREVIOUS:"), "names one version of the secret", False),
        (definition(f"{SECRET_ARN}:::0f0e0d0c-0b0a-4000-8000-000000000000"), "names one version of the secret", False),
        (definition(f"{SECRET_ARN}:OTHER::"), "no variable of its tasks is filled", None),
        (definition("arn:aws:ssm:us-east-1:123456789012:parameter/key"), "no variable of its tasks is filled", None),
        (definition(SECRET_ARN.replace("providers", "others")), "no variable of its tasks is filled", None),
    ],
)
def test_what_a_task_definition_tells(defined: dict[str, Any], words: str, ok: bool | None) -> None:
    assert [each for detail, each in told(service(), defined).items() if words in detail] == [ok]


def test_a_container_that_is_killed_too_soon_or_that_nothing_checks() -> None:
    defined = definition()
    del defined["containerDefinitions"][0]["stopTimeout"], defined["containerDefinitions"][0]["healthCheck"]
    words = " ".join(told(service(), defined))
    assert "killed 30s after it was told to stop, and a request may take 1m30s" in words
    assert "nothing checks its tasks" in words


def test_a_cache_that_may_hold_the_key_from_before_is_told() -> None:
    defined = definition()
    defined["containerDefinitions"][0]["command"] = ["keyturn", "exec", "--cache", "/shared/keys", "--", "litellm"]
    assert [detail for detail in told(service(), defined) if "--cache" in detail]


@pytest.mark.parametrize(
    "path",
    ["litellm/providers", SECRET_ARN, SECRET_ARN.removesuffix("-AbCdEf")],
    ids=["name", "ARN", "shortened ARN"],
)
def test_a_secret_is_known_however_it_is_named(path: str) -> None:
    assert told(service(), None, SecretRef("aws", path, "OPENAI_API_KEY")) == {}


async def test_the_fleet_is_given_the_secrets_of_a_credential() -> None:
    adapters = Adapters(load(Path(__file__).parents[2] / "deployments" / "keyturn.example.yaml"))
    fleet = adapters.fleet("services")
    assert isinstance(fleet, ECSFleet)
    assert list(fleet._secrets("openai-batch")) == [SecretRef("aws", "prod/openai/batch_key")]
    await adapters.aclose()


@pytest.mark.parametrize(
    ("caller", "decisions", "ok"),
    [
        (
            "arn:aws:sts::123456789012:assumed-role/keyturn/i-1",
            {"ecs:TagResource": "allowed", "ecs:UpdateService": "allowed"},
            True,
        ),
        (
            "arn:aws:iam::123456789012:user/keyturn",
            {"ecs:TagResource": "implicitDeny", "ecs:UpdateService": "allowed"},
            False,
        ),
        ("arn:aws:iam::123456789012:user/keyturn", {"ecs:UpdateService": "allowed"}, None),
        ("arn:aws:iam::123456789012:root", {}, None),
    ],
)
async def test_what_the_policy_simulator_tells(
    monkeypatch: pytest.MonkeyPatch, caller: str, decisions: dict[str, str], ok: bool | None
) -> None:
    asked: list[dict[str, Any]] = []

    class Client:
        def get_caller_identity(self) -> dict[str, Any]:
            return {"Arn": caller}

        def simulate_principal_policy(self, **arguments: Any) -> dict[str, Any]:
            asked.append(arguments)
            results = [{"EvalActionName": name, "EvalDecision": each} for name, each in decisions.items()]
            return {"EvaluationResults": results}

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(ecs_permissions, "make_client", lambda *_: Client())
    settings = ECSSettings.model_validate(SETTINGS)
    arn = "arn:aws:ecs:us-east-1:123456789012:service/litellm/gateway"
    (finding,) = await ecs_permissions.permissions(settings, resolver(environ={}), [arn], "keyturn:openai-prod")
    assert finding.ok is ok
    if asked:
        assert asked[0]["ResourceArns"] == [arn]
        assert asked[0]["ContextEntries"][0]["ContextKeyValues"] == ["keyturn:openai-prod"]


async def test_a_simulator_that_cannot_be_asked_stops_nothing() -> None:
    """There is nobody at these addresses."""
    more = {"sts_endpoint_url": "http://127.0.0.1:1", "access_key_id": "env:ID", "secret_access_key": "env:SECRET"}
    settings = ECSSettings.model_validate({**SETTINGS, **more})
    resolve = resolver(environ={"ID": "double", "SECRET": "any text"})
    (finding,) = await ecs_permissions.permissions(settings, resolve, [], "keyturn:openai-prod")
    assert finding.ok is None
