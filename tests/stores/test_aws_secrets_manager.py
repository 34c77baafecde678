"""The AWS store against the strict double of AWS."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.store_suite import StoreSuite

pytestmark = pytest.mark.real

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

    def __init__(self, url: str, region: str = REGION) -> None:
        self.api = boto3.client(
            "secretsmanager",
            endpoint_url=url,
            region_name=region,
            aws_access_key_id="operator",
            aws_secret_access_key="any text",
            config=Config(retries={"total_max_attempts": 1}),
        )

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
    return Operator(double[1])


class TestAWSSecretsManager(StoreSuite):
    url: str
    operator: Operator

    @pytest.fixture(autouse=True)
    def _aws(self, aws: AWSDouble, url: str, operator: Operator) -> None:
        self.url, self.operator = url, operator

    async def make_store(self) -> SecretStore:
        return make_store(self.url)

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
