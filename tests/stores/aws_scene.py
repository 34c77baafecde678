"""AWS Secrets Manager as the tests of its store see it: a double, an operator at it, and secrets that exist."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config

from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, VersionRef
from keyturn.references import resolver
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.store_scene import new_key, new_token
from keyturn.testing.store_suite import StoreSuite

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

REGION = "us-east-1"
ENVIRON = {"ID": "double", "SECRET": "any text"}


def make_store(url: str, **settings: Any) -> AWSSecretsManager:
    """An adapter over the double; with the double's credentials unless told otherwise."""
    given = {
        "region": REGION,
        "endpoint_url": url,
        "access_key_id": "env:ID",
        "secret_access_key": "env:SECRET",
    } | settings
    return AWSSecretsManager(AWSSecretsManager.Settings.model_validate(given), resolver(environ=ENVIRON))


class Operator:
    """Somebody else at the same AWS, with boto3 and without our adapter."""

    def __init__(self, api: SecretsManagerClient) -> None:
        self.api = api

    @classmethod
    def of(cls, url: str, region: str = REGION) -> Operator:
        api = boto3.client(
            "secretsmanager",
            endpoint_url=url,
            region_name=region,
            aws_access_key_id="operator",
            aws_secret_access_key="any text",
            config=Config(retries={"total_max_attempts": 1}),
        )
        return cls(api)

    def write(self, path: str, text: str) -> None:
        try:
            self.api.put_secret_value(SecretId=path, SecretString=text)
        except self.api.exceptions.ResourceNotFoundException:
            self.api.create_secret(Name=path, SecretString=text)

    def read(self, path: str) -> str:
        return self.api.get_secret_value(SecretId=path)["SecretString"]  # no stage: as LiteLLM asks

    def set_field(self, path: str, field: str, value: Any) -> None:
        while True:
            before = self.api.get_secret_value(SecretId=path)
            text, token = json.dumps(json.loads(before["SecretString"]) | {field: value}), str(uuid.uuid4())
            self.api.put_secret_value(SecretId=path, SecretString=text, ClientRequestToken=token, VersionStages=["operator"])
            try:
                self.api.update_secret_version_stage(
                    SecretId=path, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=before["VersionId"]
                )
                return
            except self.api.exceptions.InvalidParameterException:
                continue

    def labels(self, path: str) -> dict[str, str]:
        versions = self.api.describe_secret(SecretId=path)["VersionIdsToStages"]
        return {label: version for version, labels in versions.items() for label in labels}


@pytest.fixture(scope="module")
def double() -> Iterator[tuple[AWSDouble, str]]:
    aws = AWSDouble()
    yield aws, aws.start()
    aws.stop()


@pytest.fixture
def aws(double: tuple[AWSDouble, str]) -> Iterator[AWSDouble]:
    """Healthy at the start of every test. Names are new in every test, so its secrets may stay."""
    yield double[0]
    double[0].heal()


@pytest.fixture
def url(double: tuple[AWSDouble, str]) -> str:
    return double[1]


@pytest.fixture(scope="module")
def operator(double: tuple[AWSDouble, str]) -> Operator:
    return Operator.of(double[1])


@pytest_asyncio.fixture
async def store(aws: AWSDouble, url: str) -> AsyncIterator[AWSSecretsManager]:
    made = make_store(url)
    yield made
    await made.aclose()


@dataclass
class Place:
    """A secret that exists, and the key in it."""

    secret: SecretRef
    key: KeyMaterial


@pytest.fixture(params=["whole", "field"])
def place(request: pytest.FixtureRequest, operator: Operator) -> Place:
    return new_place(operator, "OPENAI_API_KEY" if request.param == "field" else None)


@pytest.fixture
def whole(operator: Operator) -> Place:
    return new_place(operator, None)


@pytest.fixture
def bundle(operator: Operator) -> Place:
    return new_place(operator, "OPENAI_API_KEY")


def new_place(operator: Operator, field: str | None) -> Place:
    path, key = f"prod/{secrets.token_hex(6)}/openai", new_key()
    operator.write(path, key.reveal() if field is None else json.dumps({"OTHER": "x", field: key.reveal()}))
    return Place(SecretRef("aws", path, field), key)


async def rotate(store: AWSSecretsManager, place: Place) -> tuple[KeyMaterial, VersionRef, VersionRef]:
    key, old = new_key(), (await store.current(place.secret)).version
    new = await store.stage(place.secret, key, new_token())
    await store.promote(place.secret, new, old)
    return key, new, old


async def wrong_in_preflight(store: AWSSecretsManager, secret: SecretRef) -> str:
    """What preflight finds wrong, which has to be something; each with a remedy."""
    wrong = [finding for finding in await store.preflight(secret) if finding.ok is False]
    assert wrong
    assert all(finding.remedy for finding in wrong)
    return " ".join(finding.detail for finding in wrong)


class AWSSuite(StoreSuite):
    """What is left is how the store is made."""

    operator: Operator

    async def write_whole(self, path: str, text: str) -> None:
        await asyncio.to_thread(self.operator.write, path, text)

    async def read_whole(self, path: str) -> str:
        return await asyncio.to_thread(self.operator.read, path)

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self.operator.write, path, json.dumps(fields))

    async def read_bundle(self, path: str) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(await asyncio.to_thread(self.operator.read, path))
        return fields

    async def set_field(self, path: str, field: str, value: Any) -> None:
        await asyncio.to_thread(self.operator.set_field, path, field, value)
