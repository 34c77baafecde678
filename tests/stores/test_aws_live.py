"""The suite against AWS itself, or another endpoint of it.

    KEYTURN_LIVE_AWS=eu-west-1 pytest tests/stores/test_aws_live.py
    KEYTURN_LIVE_AWS=us-east-1,https://secretsmanager.internal pytest tests/stores/test_aws_live.py

Credentials are what the AWS SDK finds by itself. They need what deployments/aws-policy.json and aws-policy-put.json allow,
and DeleteSecret and ListSecrets, on secrets whose names begin with keyturn-suite-. About 250 secrets are made, and deleted
at the end without a recovery window; AWS bills them by the hour.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import boto3
import pytest

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from tests.stores.aws_scene import AWSSuite, Operator

VARIABLE = "KEYTURN_LIVE_AWS"
FOLDER = f"keyturn-suite-{secrets.token_hex(4)}"
REGION, _, ENDPOINT = os.environ.get(VARIABLE, "").partition(",")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REGION, reason=f"not run against AWS itself: set {VARIABLE}=REGION[,ENDPOINT]"),
]


@pytest.fixture(scope="module")
def at_aws() -> Iterator[Operator]:
    operator = Operator(boto3.client("secretsmanager", region_name=REGION, endpoint_url=ENDPOINT or None))
    yield operator
    pages = operator.api.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [f"{FOLDER}/"]}])
    for name in [secret["Name"] for page in pages for secret in page["SecretList"]]:
        if name.startswith(f"{FOLDER}/"):
            with suppress(operator.api.exceptions.ResourceNotFoundException):
                operator.api.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


class TestLiveAWS(AWSSuite):
    """What it finds out that the double cannot: whether AWS is as it documents itself to be."""

    folder: ClassVar[str] = FOLDER

    @pytest.fixture(autouse=True)
    def _operator(self, at_aws: Operator) -> None:
        self.operator = at_aws

    async def make_store(self) -> SecretStore:
        settings = {"region": REGION, **({"endpoint_url": ENDPOINT} if ENDPOINT else {})}
        return AWSSecretsManager(AWSSecretsManager.Settings.model_validate(settings), resolver())
