"""A service of the ECS double that serves what a store in memory holds, and adapters over it that boto3 connects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
from botocore.config import Config

from keyturn.assembly import Assembly
from keyturn.fleets.ecs import ECSFleet
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, SecretRef, VersionRef
from keyturn.references import resolver
from keyturn.testing.ecs_double import ECSDouble
from keyturn.testing.ecs_lives import MemoryLives
from keyturn.testing.world import World

SERVICE, CREDENTIAL = "gateway", "openai-prod"
SECRET = SecretRef("memory", "litellm/providers", "OPENAI_API_KEY")
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:litellm/providers-AbCdEf"


async def nothing(member: Member) -> None:
    """A member that nobody has to ask."""


SESSION = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")  # slow to make


def client_of(url: str) -> Any:
    """One that repeats nothing, as the fleet's own."""
    return SESSION.client("ecs", endpoint_url=url, config=Config(retries={"mode": "standard", "total_max_attempts": 1}))


def definition(value_from: str = f"{SECRET_ARN}:OPENAI_API_KEY::", **more: Any) -> dict[str, Any]:
    container = {
        "name": "litellm",
        "image": "litellm",
        "stopTimeout": 120,
        "healthCheck": {"command": ["CMD", "true"]},
        "secrets": [{"name": "OPENAI_API_KEY", "valueFrom": value_from}],
    }
    return {"family": "litellm", "networkMode": "awsvpc", "containerDefinitions": [container], **more}


@dataclass
class Scene:
    """`settings`: more of the fleet's."""

    world: World
    lives: MemoryLives
    double: ECSDouble
    url: str
    fleets: list[ECSFleet] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.boto = client_of(self.url)

    def fleet(self, over: Callable[[Any], Any] = lambda call: call, *, own_client: bool = False) -> ECSFleet:
        """An adapter of a new process. `over`: around each of its calls. `own_client`: made as it is outside of tests."""
        settings = {
            "region": "us-east-1",
            "endpoint_url": self.url,
            "access_key_id": "env:ID",
            "secret_access_key": "env:SECRET",
            "cluster": "litellm",
            "services": [SERVICE],
            "port": 4000,
            "master_key": "env:MASTER",
            "check_permissions": False,
            "poll_interval": "15s",  # few looks: each is three calls
            **self.settings,
        }

        async def ready(member: Member) -> bool:
            return True

        made = ECSFleet(
            ECSSettings.model_validate(settings),
            resolver(environ={"ID": "double", "SECRET": "any text", "MASTER": "any"}),
            lambda credential: [SECRET],
            self.double.pause,
            lambda: self.double.now,
            ready,
        )
        made._calls.call = over(made._calls.call)  # type: ignore[method-assign]
        made._calls._client = None if own_client else self.boto
        self.fleets.append(made)
        return made

    def service(self) -> Any:
        (found,) = self.boto.describe_services(cluster="litellm", services=[SERVICE], include=["TAGS"])["services"]
        return found

    @property
    def deployments(self) -> int:
        """How many there have been beside the first."""
        return self.double.calls["UpdateService"]

    @property
    def version(self) -> VersionRef:
        return VersionRef("", KeyMaterial(self.lives.read()).fingerprint())

    def rollout(self, name: str = "20260101T000000Z") -> str:
        return f"{self.version.fingerprint}.{name}"

    def put(self, text: str) -> None:
        """A value is promoted."""
        document = self.world.store.documents[SECRET.path]
        assert isinstance(document, dict)
        document["OPENAI_API_KEY"] = text

    async def replace(self, fleet: ECSFleet, rollout: str | None = None) -> None:
        await fleet.replace(SERVICE, CREDENTIAL, self.version, rollout or self.rollout(), nothing)

    def served(self) -> set[str]:
        """What tasks that may answer a request have loaded."""
        return {
            self.lives.loaded[task.name]
            for task in self.double.scheduler.live(SERVICE)
            if task.status in ("ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING")
        }

    def worker(self, fleet: ECSFleet | None = None) -> Assembly:
        made = fleet or self.fleet()
        return replace(self.world.worker(), fleets={"local": made}, canaries={"local": Canary(self)})


@dataclass
class Canary:
    """Tells the truth: asks the provider with what the task at that address has loaded."""

    scene: Scene

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("canary answers", True)]

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return await self.scene.world.provider.check(material)

    async def member(self, member: Member) -> Judgement:
        text = self.scene.lives.loaded[member.control.rpartition("/")[2]]
        return self.scene.world.provider.try_out(KeyMaterial(text).fingerprint(), is_use=True)

    async def aclose(self) -> None:
        """Nothing is open."""


@contextmanager
def scene_of(world: World, desired: int = 2, **service: Any) -> Iterator[Scene]:
    """A service that has come to rest."""

    def read() -> str:
        document = world.store.documents[SECRET.path]
        assert isinstance(document, dict)
        return str(document["OPENAI_API_KEY"])

    lives = MemoryLives(read)
    double = ECSDouble(lives)
    scene = Scene(world, lives, double, double.start())
    boto = scene.boto
    boto.register_task_definition(**definition())
    boto.create_service(
        cluster="litellm", serviceName=SERVICE, taskDefinition="litellm", desiredCount=desired, **{**defaults(), **service}
    )
    double.forward(60)
    double.calls.clear()
    try:
        yield scene
    finally:
        double.stop()


def defaults(*, rollback: bool = True, least: int = 100, most: int = 200) -> dict[str, Any]:
    breaker = {"enable": True, "rollback": rollback}
    percents = {"minimumHealthyPercent": least, "maximumPercent": most}
    return {
        "deploymentConfiguration": {"deploymentCircuitBreaker": breaker, **percents},
        "healthCheckGracePeriodSeconds": 120,
    }
