"""The least policies for AWS: a whole life of a credential needs each of their actions, and no other.

The double knows no IAM, so it is told what to deny. What a resource and a condition stand for is AWS's alone to say.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import boto3
import pytest

from keyturn.errors import DeniedError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.aws_policy import policy
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.stores.aws_settings import AWSSettings
from keyturn.testing.aws_double import AWSDouble, Kind
from tests.policies.rotations import Life, PendingError, outcome_of
from tests.steps.plain_flows import plainly

pytestmark = pytest.mark.real

REGION = "us-east-1"
FIELDS = ["OPENAI_API_KEY", None]


@pytest.fixture(scope="module")
def double() -> Iterator[tuple[AWSDouble, str]]:
    aws = AWSDouble()
    yield aws, aws.start()
    aws.stop()


def allowed() -> list[str]:
    """The actions of both policies, without AWS's prefix."""
    settings = AWSSettings(region=REGION)
    secret = SecretRef("aws", "prod/keys")
    statements = policy(settings, [secret], [secret], account="123456789012")["Statement"]
    return list(dict.fromkeys(action.partition(":")[2] for statement in statements for action in statement["Action"]))


@asynccontextmanager
async def life(double: tuple[AWSDouble, str], field: str | None) -> AsyncIterator[Life]:
    aws, url = double
    settings = AWSSettings.model_validate(
        {"region": REGION, "endpoint_url": url, "access_key_id": "env:ID", "secret_access_key": "env:SECRET"}
    )
    secret = SecretRef("aws", f"policy/{secrets.token_hex(6)}", field)
    stores = [AWSSecretsManager(settings, resolver(environ={"ID": "double", "SECRET": "any text"})) for _ in range(2)]
    made = Life(secret, *stores)
    text = made.first.material.reveal()
    operator = boto3.client(
        "secretsmanager", endpoint_url=url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )
    operator.create_secret(Name=secret.path, SecretString=json.dumps({field: text, "OTHER": "other"}) if field else text)
    aws.heal()
    try:
        with plainly():
            yield made
    finally:
        aws.heal()
        for store in stores:
            await store.aclose()


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
async def test_a_whole_life_takes_these_actions_and_no_other(double: tuple[AWSDouble, str], field: str | None) -> None:
    async with life(double, field) as made:
        assert await outcome_of(made) is None
        assert set(double[0].calls) == set(allowed())


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
@pytest.mark.parametrize("action", allowed())
async def test_without_any_one_action_it_breaks(double: tuple[AWSDouble, str], field: str | None, action: str) -> None:
    async with life(double, field) as made:
        double[0].inject(action, Kind.DENIED, times=0)
        error = await outcome_of(made)
        assert isinstance(error, DeniedError | PendingError), f"it goes well without {action}: {error}"
        assert f"secretsmanager:{action}" in str(error)
