"""The kind `ecs`: a service of the double, whose tasks are LiteLLM proxies, behind a balancer with their target group.

ECS fills the key's variable from Secrets Manager, keyturn's own store, when it starts a task. By keyturn the service is as
docs/ecs.md asks for: a deregistration delay longer than a request, and `stopTimeout: 120`. As without it tasks have AWS's
own 30 s to end, and are ended by StopTask, which waits for no deregistration (aws/containers-roadmap#576 and #708): `blind`
is `aws ecs stop-task` of all, `undrained` of one after the other, each one's successor waited for. No way of the three is
`aws ecs update-service --force-new-deployment` by hand: that is the deployment that keyturn asks for, drained by ECS itself
where the target group has such a delay, whoever asks.

The balancer: a task is a target from when it is started until ECS takes it out, and healthy as an ALB has it, which fails
open (AWS, "Health checks for Application Load Balancer target groups"). Each change is known a second later, a time that is
made up. A connection that is refused is not tried on another task. None is kept for the next request, as an ALB would, and
so users open one for each.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3

from bench.under_load import rotation
from bench.under_load.fleet import BEHAVIOUR, LONG, SHORT, Way
from keyturn.material import KeyMaterial
from keyturn.testing.balancer import Balancer, Health, Target
from keyturn.testing.ecs_double import ECSDouble
from keyturn.testing.ecs_processes import ProcessLives
from keyturn.testing.ecs_state import Task
from keyturn.testing.embedded import ACCOUNT, PROJECT, READY_SECONDS, REGION, WHOLE_AWS, Credential, Embedded
from keyturn.testing.litellm import Command, command, write_config

CLUSTER, SERVICE = "litellm", "gateway"
KEY = Credential("openai-prod", "OPENAI_API_KEY", SHORT, {"store": "aws", "name": WHOLE_AWS})
HEALTH = Health("/health/readiness", interval=5.0, timeout=4.0, falls=5, fails_open=True)  # within an ALB's limits
LAG = 1.0  # seconds
DELAY = 15.0  # seconds: of the target group
STOP_TIMEOUT = 120  # seconds
SPEED = 1.0  # of ECS's time


class _Tasks(ProcessLives):
    """Healthy is what its target is: ECS asks the balancer, too."""

    balancer: Balancer
    port: int

    def is_ready(self, task: Task) -> bool:
        return (task.address, self.port) in self.balancer.healthy


class Tasks:
    """One cluster with one service in it."""

    keeps_connections = False

    def __init__(self, folder: Path, way: Way, members: int) -> None:
        self.parts = Embedded(folder, credentials=(KEY,), members=members, further_models=(LONG,))
        self.way, self.members = way, members
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return self._lives.balancer.url

    @property
    def master_key(self) -> str:
        return self.parts.environ["LITELLM_MASTER_KEY"]

    def start(self) -> None:
        self.parts.start_provider()
        self.parts.tell_provider("behaviour", **BEHAVIOUR)
        self.parts.start_aws()
        how = self._how()

        def program(address: str) -> list[str]:
            return [address if word == "127.0.0.1" else word for word in how.argv]

        secrets = self.parts.aws_client()
        port, log = self.parts.proxy_port, self.parts.folder / "logs" / "tasks.log"
        self._lives = _Tasks(program, port, secrets, log)
        self._stack.callback(self._lives.stop)
        self.double = ECSDouble(self._lives, CLUSTER)
        self._stack.callback(self.double.stop)
        self._lives.definitions, self._lives.port = self.double.operations.definitions, port
        self.double.scheduler.unhealthy_after = READY_SECONDS * SPEED
        self.double.scheduler.deregistration_delay = DELAY * SPEED
        self._lives.balancer = self._stack.enter_context(Balancer(self._registered, health=HEALTH, lag=LAG))
        self._begin(how, secrets.describe_secret(SecretId=WHOLE_AWS)["ARN"])
        self._until_done(before=set())
        self._lives.balancer.wait_for(self.members, seconds=10 * LAG)  # it knows of a task later than ECS does

    def turn(self) -> str:
        if self.way is Way.KEYTURN:
            self.parts.config.write_text(json.dumps(self._configuration()))
            rotation.turn(self.parts.config, self.parts.environ, KEY.name)
            return KeyMaterial(self.parts.current(KEY)).fingerprint()
        made = self.parts.tell_provider("keys", project=PROJECT, name="the next one", account=ACCOUNT)
        self.parts.aws_client().put_secret_value(SecretId=WHOLE_AWS, SecretString=made["value"])
        before = {task.arn for task in self.double.scheduler.live(SERVICE)}
        for some in [before] if self.way is Way.BLIND else [{each} for each in before]:
            for each in some:
                self.boto.stop_task(cluster=CLUSTER, task=each)
            self._until_done(some)
        return str(made["fingerprint"])

    def stop(self) -> None:
        self._stack.close()
        self.parts.stop()

    def _registered(self) -> list[Target]:
        """The targets: what is DEACTIVATING has been taken out."""
        tasks = self.double.scheduler.live(SERVICE)
        return [(task.address, self.parts.proxy_port) for task in tasks if task.status in ("ACTIVATING", "RUNNING")]

    def _how(self) -> Command:
        config = write_config(self.parts.folder / "litellm.json", self.parts.deployments)
        return command(config, self.parts.proxy_port, KeyMaterial(self.master_key))

    def _begin(self, how: Command, secret: str) -> None:
        self.address = self.double.start()
        self.double.follow_time(SPEED)
        self.boto = boto3.client(
            "ecs", endpoint_url=self.address, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        container: dict[str, Any] = {
            "name": "litellm",
            "image": "litellm",
            "environment": [{"name": name, "value": value} for name, value in how.env.items()],
            "secrets": [{"name": KEY.variable, "valueFrom": secret}],
            "healthCheck": {"command": ["CMD-SHELL", "curl -f localhost:4000/health/readiness"]},
            **({"stopTimeout": STOP_TIMEOUT} if self.way is Way.KEYTURN else {}),
        }
        self.boto.register_task_definition(family="litellm", networkMode="awsvpc", containerDefinitions=[container])
        self.boto.create_service(
            cluster=CLUSTER,
            serviceName=SERVICE,
            taskDefinition="litellm",
            desiredCount=self.members,
            deploymentConfiguration={
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                "minimumHealthyPercent": 100,
                "maximumPercent": 200,
            },
            healthCheckGracePeriodSeconds=READY_SECONDS,
        )

    def _until_done(self, before: set[str]) -> None:
        """As many as wanted are healthy, and no task of before is there, those that end included."""
        over = time.monotonic() + self.members * READY_SECONDS
        while time.monotonic() < over:
            tasks = self.double.scheduler.live(SERVICE)
            if sum(task.is_up for task in tasks) == len(tasks) == self.members and not before & {task.arn for task in tasks}:
                return
            time.sleep(0.2)
        raise RuntimeError("the tasks did not come to what was wanted")

    def _configuration(self) -> Any:
        login = {"access_key_id": "env:AWS_ACCESS_KEY_ID", "secret_access_key": "env:AWS_SECRET_ACCESS_KEY"}
        fleet = {"region": REGION, "endpoint_url": self.address, "cluster": CLUSTER, "services": [SERVICE], **login}
        return {
            "providers": {"openai-org": self.parts.provider_settings},
            "stores": {
                "aws": {"kind": "aws_secrets_manager", "region": REGION, "endpoint_url": self.parts.aws_url, **login}
            },
            "proxies": {
                "prod": {
                    "kind": "ecs",
                    "port": self.parts.proxy_port,
                    "check_permissions": False,
                    "master_key": "env:LITELLM_MASTER_KEY",
                    **fleet,
                }
            },
            "credentials": {
                KEY.name: {
                    "provider": "openai-org",
                    "secrets": [KEY.secret],
                    "env": KEY.variable,
                    "canary": {"proxy": "prod", "model": KEY.model},
                    "proxies": ["prod"],
                    "overlap": self.parts.overlap,
                }
            },
        }
