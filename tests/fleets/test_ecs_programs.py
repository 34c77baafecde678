"""An ECS service whose tasks are programs that get their key from Secrets Manager: rolled while somebody calls them."""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import boto3
import httpx
import pytest

from keyturn.fleets.ecs import ECSFleet
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.material import KeyMaterial
from keyturn.model import Member, SecretRef, VersionRef
from keyturn.references import resolver
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.ecs_double import ECSDouble
from keyturn.testing.ecs_processes import ProcessLives
from keyturn.testing.processes import free_port
from tests.fleets.ecs_scene import CREDENTIAL, SERVICE, client_of, defaults, definition

pytestmark = pytest.mark.real
NAME = "ecs-programs/providers"  # the double has one account for the process, which other tests fill, too


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    double = AWSDouble()
    yield double.start()
    double.stop()


async def test_programs_are_replaced_while_they_are_called(aws: str, tmp_path: Path) -> None:
    port = free_port()
    store = boto3.client(
        "secretsmanager", endpoint_url=aws, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    old, new = ("sk-" + secrets.token_hex(24) for _ in range(2))
    arn = store.create_secret(Name=NAME, SecretString=json.dumps({"OPENAI_API_KEY": old}))["ARN"]

    def program(address: str) -> list[str]:
        return [sys.executable, "-m", "keyturn.testing.fake_proxy", "--host", address, "--port", str(port)]

    lives = ProcessLives(program, port, store, tmp_path / "programs.log")
    double = ECSDouble(lives)
    lives.definitions = double.operations.definitions
    double.follow_time(speed=4)
    url = double.start()
    boto = client_of(url)
    boto.register_task_definition(**definition(f"{arn}:OPENAI_API_KEY::"))
    settings = {
        "region": "us-east-1",
        "endpoint_url": url,
        "access_key_id": "env:ID",
        "secret_access_key": "env:SECRET",
        "cluster": "litellm",
        "services": [SERVICE],
        "port": port,
        "master_key": "env:MASTER",
        "check_permissions": False,
        "poll_interval": "1s",
        "roll_timeout": "2m",
    }
    fleet = ECSFleet(
        ECSSettings.model_validate(settings),
        resolver(environ={"ID": "double", "SECRET": "any text"}),
        lambda _: [SecretRef("aws", NAME, "OPENAI_API_KEY")],
    )
    caller = Caller(double, port)
    try:
        boto.create_service(cluster="litellm", serviceName=SERVICE, taskDefinition="litellm", desiredCount=2, **defaults())
        rollout = f"{KeyMaterial(old).fingerprint()}.1"
        await fleet.replace(SERVICE, CREDENTIAL, version_of(old), rollout, caller.demand(old))
        caller.start()
        store.put_secret_value(SecretId=NAME, SecretString=json.dumps({"OPENAI_API_KEY": new}))
        rollout = f"{KeyMaterial(new).fingerprint()}.2"
        await fleet.replace(SERVICE, CREDENTIAL, version_of(new), rollout, caller.demand(new))
        caller.stop()
        assert [await fleet.serving(member, CREDENTIAL) for member in await fleet.members()] == [version_of(new)] * 2
        assert caller.failed == 0
        assert caller.loaded == {KeyMaterial(each).fingerprint() for each in (old, new)}
        # Each new member of both rolls, once; and those of the service's first deployment, where they came after the tag.
        assert len(caller.asked) == len(set(caller.asked)) >= 4
    finally:
        caller.stop()
        double.stop()
        lives.stop()
        await fleet.aclose()


def version_of(text: str) -> VersionRef:
    return VersionRef("", KeyMaterial(text).fingerprint())


class Caller:
    """Calls a task that is in service, again and again, and asks each new member which key it has loaded."""

    def __init__(self, double: ECSDouble, port: int) -> None:
        self._double, self._port = double, port
        self.failed, self.loaded, self.asked = 0, set[str](), list[str]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def demand(self, text: str) -> Callable[[Member], Awaitable[None]]:
        async def proved(member: Member) -> None:
            self.asked.append(member.name)
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"{member.url}/v1/chat/completions", json={})
            assert answer.json()["choices"][0]["message"]["content"] == KeyMaterial(text).fingerprint()

        return proved

    def _run(self) -> None:
        """As a balancer does that has forgotten a task as soon as it is to stop."""
        while not self._over.wait(0.05):
            up = [task for task in self._double.scheduler.live(SERVICE) if task.is_up]
            try:
                answer = httpx.post(
                    f"http://{up[0].address}:{self._port}/v1/chat/completions", json={}, trust_env=False, timeout=20
                )
                self.loaded.add(answer.json()["choices"][0]["message"]["content"])
            except (httpx.HTTPError, IndexError):
                self.failed += 1
