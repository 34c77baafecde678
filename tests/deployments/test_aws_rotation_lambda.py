"""AWS's scheduler as the trigger: RotateSecret invokes the function; each step is repeated, and killed anywhere."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

import deployments.aws_rotation_lambda as function
from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.config import Config, parse
from keyturn.errors import ConflictError, KeyturnError, MisconfiguredError, NotFoundError, RejectedError, UnavailableError
from keyturn.model import Mark, SecretRef
from keyturn.stores.aws_client import SecretsManagerClient
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.explorer import Died
from keyturn.testing.store_scene import new_token
from keyturn.testing.world import Clock, MemoryCanary, MemoryFleet, MemoryProvider, new_key
from tests.steps.plain_flows import plainly, rotate
from tests.stores.aws_scene import REGION, Operator, make_store

pytestmark = pytest.mark.real

ARN = f"arn:aws:lambda:{REGION}:123456789012:function:keyturn"
FIELD = "OPENAI_API_KEY"


@pytest.fixture(scope="module")
def double() -> Iterator[tuple[AWSDouble, str]]:
    aws = AWSDouble()
    yield aws, aws.start()
    aws.stop()


def configuration(path: str, field: str | None, stray_age: str = "1h", more: str = "") -> Config:
    shown = f", field: {field}" if field else ""
    return parse(
        f"""
providers:
  openai-org: {{kind: openai, admin_key: env:ADMIN, project: proj_abc}}
stores:
  aws: {{kind: aws_secrets_manager, region: {REGION}, rotation_lambda_arn: "{ARN}"}}
proxies:
  local: {{kind: process, members: ["http://127.0.0.1:4001"], master_key: env:MASTER}}
credentials:
  openai-prod:
    provider: openai-org
    secrets: [{{store: aws, path: "{path}"{shown}}}]
    canary: {{proxy: local, model: gpt}}
    proxies: [local]
    overlap: 1h
{more}
sweep: {{stray_age: {stray_age}}}
"""
    )


_operator = cache(Operator.of)


@dataclass
class Installation:
    """A secret at AWS that the function rotates, and the world beside it. Each invocation is a process of its own."""

    aws: AWSDouble
    url: str
    bundled: bool
    path: str = field(default_factory=lambda: f"prod/{secrets.token_hex(6)}/openai")
    provider: MemoryProvider = field(default_factory=lambda: MemoryProvider(Clock()))

    def __post_init__(self) -> None:
        self.secret = SecretRef("aws", self.path, FIELD if self.bundled else None)
        self.config = configuration(self.path, self.secret.field)
        self.operator = _operator(self.url)
        self.first = self.provider.add(new_key(), "made by hand")
        text = self.first.material.reveal()
        self.operator.write(self.path, json.dumps({"OTHER": "x", FIELD: text}) if self.bundled else text)
        self.fleet = MemoryFleet(self.store(), self.secret)
        asyncio.run(self.fleet.start())

    def store(self) -> Any:
        return make_store(self.url, rotation_lambda_arn=ARN)

    def worker(self) -> Assembly:
        self.fleet.store = self.store()
        return Assembly(
            name="openai-prod",
            settings=self.config.credential("openai-prod"),
            mark=Mark.of("openai-prod", self.path),
            provider=self.provider,
            secrets=((self.secret, self.store()),),
            fleets={"local": self.fleet},
            canaries={"local": MemoryCanary(self.provider, self.fleet)},
            now=self.provider.clock.now,
            pause=self.provider.clock.pause,
        )

    @asynccontextmanager
    async def assembled(self, config: Config, name: str) -> AsyncIterator[Assembly]:
        assert name == "openai-prod"
        c = self.worker()
        try:
            yield c
        finally:
            await c.secrets[0][1].aclose()

    def invoke(self, event: dict[str, Any], context: object = None) -> None:
        with patch.object(function, "assemble", self.assembled), patch.object(function, "load", lambda: self.config):
            function.handler(event, context)

    def start(self) -> str:
        """RotateSecret, with a function that is slow to begin: a test takes the steps. Gives the token."""
        self.aws.lambdas[ARN] = lambda event, context: None
        return self.operator.api.rotate_secret(SecretId=self.path, RotationLambdaARN=ARN)["VersionId"]

    def step(self, name: str, token: str) -> None:
        arn = self.operator.api.describe_secret(SecretId=self.path)["ARN"]
        self.invoke({"Step": name, "SecretId": arn, "ClientRequestToken": token})

    def in_use(self) -> str:
        text = self.operator.read(self.path)
        return str(json.loads(text)[FIELD] if self.bundled else text)

    def check_rotated(self, token: str) -> None:
        """As AWS demands it, and as keyturn does."""
        labels = self.operator.labels(self.path)
        assert labels.get("AWSPENDING") in (None, labels["AWSCURRENT"])
        assert self.bundled or labels["AWSCURRENT"] == token
        (key,) = [ref for ref, text in self.provider.keys.values() if text.reveal() == self.in_use()]
        assert key.name == Mark.of("openai-prod", self.path).label(token)
        assert not self.bundled or json.loads(self.operator.read(self.path))["OTHER"] == "x"

    def finish(self) -> None:
        """The next run goes on where AWS has ended: it rolls, proves and revokes, and nothing is left over."""
        with plainly():
            for _ in range(2):
                done = asyncio.run(rotate(self.worker(), self.provider.clock.now(), overlap=timedelta(0)))
                if done.result is Result.RETIRED:
                    break
        assert done.result is Result.RETIRED, done
        ((_, material),) = self.provider.keys.values()
        assert material.reveal() == self.in_use()
        assert {version.fingerprint for version in self.fleet.loaded.values() if version} == {material.fingerprint()}
        assert "AWSPENDING" not in self.operator.labels(self.path)


@pytest.fixture(params=[False, True], ids=["whole", "field"])
def place(request: pytest.FixtureRequest, double: tuple[AWSDouble, str]) -> Iterator[Installation]:
    yield Installation(*double, request.param)
    double[0].heal()


def test_rotate_secret_rotates_and_the_next_run_does_the_rest(place: Installation) -> None:
    over, errors = threading.Event(), []

    def invoked(event: dict[str, Any], context: object) -> None:
        try:
            place.invoke(event, context)
        except BaseException as error:
            errors.append(error)
            over.set()
            raise
        if event["Step"] == "finishSecret":
            over.set()

    place.aws.lambdas[ARN] = invoked
    token = place.operator.api.rotate_secret(SecretId=place.path, RotationLambdaARN=ARN)["VersionId"]
    assert over.wait(60)
    assert errors == []
    place.check_rotated(token)
    assert place.fleet.rolls == [], "the proxies are the sweep's"
    place.finish()
    again = place.start()  # AWS takes the rotation for finished
    assert again != token


def test_every_step_may_be_repeated(place: Installation) -> None:
    token = place.start()
    for number, step in enumerate(function.STEPS):
        for repeated in function.STEPS[: number + 1]:
            place.step(repeated, token)
        place.step(step, token)
    place.check_rotated(token)
    assert place.provider.made == 2
    place.finish()
    for step in function.STEPS:
        place.step(step, token)  # AWSCURRENT has gone on to a copy meanwhile
    assert place.provider.made == 2


class _Killer:
    """Ends the process before or after its call of this number, to AWS or to the provider's create."""

    def __init__(self, place: Installation, number: int, after: bool) -> None:
        self.calls, self.number, self.after, self.armed = 0, number, after, True
        self.call, self.create = SecretsManagerClient.call, place.provider.create

    @property
    def is_over(self) -> bool:
        return self.calls <= self.number

    async def count(self, made: Any) -> Any:
        here, self.calls = self.armed and self.calls == self.number, self.calls + 1
        if here and not self.after:
            made.close()
            self.armed = False
            raise Died
        answer = await made
        if here:
            self.armed = False
            raise Died
        return answer


@pytest.mark.parametrize("step", function.STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_step_that_is_killed_at_any_call_is_finished_by_repeating_it(
    double: tuple[AWSDouble, str], bundled: bool, step: str, after: bool
) -> None:
    for number in range(100):
        place = Installation(*double, bundled)
        token = place.start()
        for earlier in function.STEPS[: function.STEPS.index(step)]:
            place.step(earlier, token)
        killer = _Killer(place, number, after)

        async def call(client: Any, *args: Any, killer: _Killer = killer, **given: Any) -> Any:
            return await killer.count(killer.call(client, *args, **given))

        async def create(*args: Any, killer: _Killer = killer, **given: Any) -> Any:
            return await killer.count(killer.create(*args, **given))

        create_dies = patch.object(place.provider, "create", create)
        with patch.object(SecretsManagerClient, "call", call), create_dies, suppress(Died):
            place.step(step, token)
        if killer.armed:
            break
        assert place.in_use() in [text.reveal() for _, text in place.provider.keys.values()]
        for later in function.STEPS[function.STEPS.index(step) :]:
            place.step(later, token)
        place.check_rotated(token)
        if number % 4 == 0:
            place.finish()
    assert number > 1, "it was never killed"


@pytest.fixture(params=[False, True], ids=["whole", "field"])
def bundled(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_key_that_the_provider_refuses_is_given_up_and_the_next_rotation_succeeds(place: Installation) -> None:
    token = place.start()
    place.provider.refuses_new = True
    place.step("createSecret", token)
    place.step("setSecret", token)
    with pytest.raises(RejectedError):
        place.step("testSecret", token)
    assert place.in_use() == place.first.material.reveal()
    assert [ref.id for ref, _ in place.provider.keys.values()] == [place.first.ref.id]
    place.provider.refuses_new = False
    for step in function.STEPS[2:]:
        with pytest.raises(NotFoundError):
            place.step(step, token)
    if place.bundled:  # AWS's own label stays on its empty version: as after any rotation that failed
        place.operator.api.update_secret_version_stage(
            SecretId=place.path, VersionStage="AWSPENDING", RemoveFromVersionId=token
        )
    token = place.start()
    for step in function.STEPS:
        place.step(step, token)
    place.check_rotated(token)


def test_nothing_is_created_while_another_rotation_is_unfinished(place: Installation) -> None:
    with plainly():
        asyncio.run(rotate(place.worker(), place.provider.clock.now()))  # its old key lives for an hour
    token, made = place.start(), place.provider.made
    with pytest.raises(UnavailableError, match="not now"):
        place.step("createSecret", token)
    assert place.provider.made == made


def test_a_rotation_of_keyturns_own_that_is_staged_is_not_overwritten(double: tuple[AWSDouble, str]) -> None:
    """Of a field: AWS's own label would have been taken from it, and RotateSecret refused, for a whole secret."""
    place = Installation(*double, True)
    token, other = place.start(), new_token()
    staged = new_key()
    asyncio.run(place.store().stage(place.secret, staged, other))
    for step in function.STEPS[:1]:
        with pytest.raises(ConflictError, match="under way"):
            place.step(step, token)
    assert place.provider.made == 1


def test_a_token_that_waits_for_nothing_is_refused(place: Installation) -> None:
    place.start()
    for step in function.STEPS:
        with pytest.raises(NotFoundError, match="RotateSecret"):
            place.step(step, new_token())


def test_a_secret_that_aws_does_not_rotate_by_this_function_is_left_alone(place: Installation) -> None:
    with pytest.raises(MisconfiguredError, match="rotation_lambda_arn"):
        place.step("createSecret", new_token())
    place.aws.lambdas[f"{ARN}-2"] = lambda event, context: None
    token = place.operator.api.rotate_secret(SecretId=place.path, RotationLambdaARN=f"{ARN}-2")["VersionId"]
    with pytest.raises(MisconfiguredError, match="rotation_lambda_arn"):
        place.step("createSecret", token)
    assert place.provider.made == 1


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Step": "deleteSecret", "SecretId": "x", "ClientRequestToken": new_token()},
        {"Step": "createSecret", "SecretId": "x", "ClientRequestToken": "x" * 36},
        {"Step": "createSecret", "SecretId": "x"},
    ],
)
def test_an_event_of_something_else_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(MisconfiguredError, match="not one of a rotation"):
        asyncio.run(function.handle(configuration("prod/openai", None), event))


def test_a_sweep_that_might_take_a_key_in_the_making_for_a_stray_is_refused() -> None:
    event = {"Step": "createSecret", "SecretId": "x", "ClientRequestToken": new_token()}
    with pytest.raises(MisconfiguredError, match="stray_age"):
        asyncio.run(function.handle(configuration("prod/openai", None, stray_age="15m"), event))


@pytest.mark.parametrize("field", [None, FIELD])
@pytest.mark.parametrize("path", ["prod/openai", f"arn:aws:secretsmanager:{REGION}:123456789012:secret:prod/openai"])
def test_the_credential_is_found_by_the_secret(path: str, field: str | None) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:prod/openai-AbCdEf"
    config = configuration(path, field)
    assert function.credential_of(config, arn) == "openai-prod"
    for other in (arn.replace(REGION, "eu-west-1"), arn.replace("prod/", "prod2/"), f"{arn}-AbCdEf", "prod/openai2"):
        with pytest.raises(KeyturnError):
            function.credential_of(config, other)


def test_a_bundle_of_several_keys_is_refused() -> None:
    more = """
  second:
    provider: openai-org
    secrets: [{store: aws, path: prod/openai, field: SECOND_API_KEY}]
    canary: {proxy: local, model: gpt}
    proxies: [local]
"""
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:prod/openai-AbCdEf"
    with pytest.raises(MisconfiguredError, match="keyturn's own schedule"):
        function.credential_of(configuration("prod/openai", FIELD, more=more), arn)
