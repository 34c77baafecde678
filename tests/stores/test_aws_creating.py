"""Secrets that AWS did not have, and what they are made with. StoreCreating is played in test_aws_secrets_manager.py."""

from __future__ import annotations

import json
import secrets
from typing import Any

import boto3
import pytest
from pydantic import ValidationError

from keyturn.errors import ConflictError, DeniedError, MisconfiguredError, PermanentError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble, Kind
from keyturn.testing.store_scene import new_key, refused
from tests.stores.aws_scene import REGION, Operator, Place, make_store

pytestmark = pytest.mark.real


def missing(field: str | None = None) -> SecretRef:
    return SecretRef("aws", f"prod/{secrets.token_hex(6)}/new", field)


@pytest.fixture(params=[None, "OPENAI_API_KEY"], ids=["whole", "field"])
def new(request: pytest.FixtureRequest) -> SecretRef:
    return missing(request.param)


async def test_the_settings_are_what_it_is_made_with(url: str, operator: Operator, new: SecretRef) -> None:
    alias = f"alias/{secrets.token_hex(4)}"
    for region in (REGION, "eu-west-1"):
        kms = boto3.client("kms", endpoint_url=url, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
        kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    tags = {"team": "ml", "cost:center": "4 2"}
    store = make_store(url, kms_key_id=alias, tags=tags, replicas=["eu-west-1"])
    key = new_key()
    await store.create(new, key)
    made = operator.api.describe_secret(SecretId=new.path)
    assert made["KmsKeyId"] == alias
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == tags
    assert [replica["Region"] for replica in made["ReplicationStatus"]] == ["eu-west-1"]
    assert key.reveal() in Operator.of(url, "eu-west-1").read(new.path)
    assert await store.annotations(new) == {}
    await store.aclose()


async def test_a_create_whose_answers_are_lost_is_finished_by_repeating(
    store: AWSSecretsManager, operator: Operator, aws: AWSDouble, new: SecretRef
) -> None:
    key = new_key()
    aws.inject("CreateSecret", Kind.LOST, times=3)
    await refused(store.create(new, key), UnavailableError, key)
    version = await store.create(new, key)
    assert await store.stages(new) == {Stage.CURRENT: version}
    versions = operator.api.list_secret_version_ids(SecretId=new.path, IncludeDeprecated=True)["Versions"]
    assert [each["VersionId"] for each in versions] == [version.id]


async def test_a_secret_without_a_value_is_given_its_first(
    store: AWSSecretsManager, operator: Operator, new: SecretRef
) -> None:
    operator.api.create_secret(Name=new.path, Tags=[{"Key": "team", "Value": "ml"}])
    key = new_key()
    await store.create(new, key)
    assert (await store.current(new)).material == key
    assert operator.api.describe_secret(SecretId=new.path)["Tags"] == [{"Key": "team", "Value": "ml"}]


async def test_who_writes_the_first_value_meanwhile_is_not_overwritten(
    store: AWSSecretsManager, operator: Operator, aws: AWSDouble, new: SecretRef
) -> None:
    operator.api.create_secret(Name=new.path)
    theirs = new_key()
    text = theirs.reveal() if new.field is None else json.dumps({new.field: theirs.reveal()})

    def someone_else(operation: str, body: Any) -> None:
        if operation == "PutSecretValue":
            aws.before = lambda operation, body: None
            operator.write(new.path, text)

    aws.before = someone_else
    key = new_key()
    await refused(store.create(new, key), ConflictError, key, theirs)
    assert (await store.current(new)).material == theirs


async def test_a_secret_scheduled_for_deletion_is_told(
    store: AWSSecretsManager, operator: Operator, place: Place, aws: AWSDouble
) -> None:
    operator.api.delete_secret(SecretId=place.secret.path, RecoveryWindowInDays=7)
    aws.calls.clear()
    caught = await refused(store.create(place.secret, new_key()), PermanentError, place.key)
    assert "scheduled for deletion" in caught.message
    assert "restore-secret" in caught.remedy
    assert set(aws.calls) == {"DescribeSecret"}


async def test_a_field_is_added_byte_for_byte_and_an_addition_of_others_is_kept(
    store: AWSSecretsManager, operator: Operator, aws: AWSDouble
) -> None:
    path = missing().path
    document = '{\n  "A" : 1.0,\n  "B": "\\u00e9"%s\n}\n'
    operator.write(path, document % "")

    def someone_else(operation: str, body: Any) -> None:
        if operation == "UpdateSecretVersionStage":
            aws.before = lambda operation, body: None
            operator.write(path, document % ',\n  "C": 1E5')

    aws.before = someone_else
    key = new_key()
    await store.create(SecretRef("aws", path, "KEY"), key)
    assert operator.read(path) == document % f',\n  "C": 1E5,\n  "KEY": "{key.reveal()}"'


async def test_no_field_is_added_to_what_is_no_bundle(store: AWSSecretsManager, whole: Place, operator: Operator) -> None:
    secret = SecretRef("aws", whole.secret.path, "KEY")
    assert "not a JSON object" in (await refused(store.create(secret, new_key()), ConflictError, whole.key)).message
    assert operator.read(whole.secret.path) == whole.key.reveal()


async def test_a_binary_secret_is_somebodys_value(store: AWSSecretsManager, operator: Operator, new: SecretRef) -> None:
    operator.api.create_secret(Name=new.path, SecretBinary=b"theirs")
    await refused(store.create(new, new_key()), ConflictError)
    assert operator.api.get_secret_value(SecretId=new.path)["SecretBinary"] == b"theirs"


async def test_an_arn_names_what_is_there_already(store: AWSSecretsManager) -> None:
    secret = SecretRef("aws", f"arn:aws:secretsmanager:{REGION}:123456789012:secret:missing")
    assert "name" in (await refused(store.create(secret, new_key()), MisconfiguredError)).remedy


async def test_what_aws_refuses_is_told_in_our_words(
    store: AWSSecretsManager, url: str, aws: AWSDouble, new: SecretRef
) -> None:
    key = new_key()
    lost = make_store(url, kms_key_id="alias/missing")
    assert "kms_key_id" in (await refused(lost.create(new, key), PermanentError, key)).remedy
    kms = boto3.client("kms", endpoint_url=url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    name = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=name)
    dying = make_store(url, kms_key_id=name)
    assert "KMS key" in (await refused(dying.create(new, key), PermanentError, key)).remedy
    aws.inject("CreateSecret", Kind.DENIED)
    assert "allow secretsmanager:CreateSecret" in (await refused(store.create(new, key), DeniedError, key)).remedy
    for each in (lost, dying):
        await each.aclose()


async def test_too_long_a_value_makes_nothing(store: AWSSecretsManager, aws: AWSDouble, bundle: Place) -> None:
    aws.calls.clear()
    key = KeyMaterial("x" * 65_530)
    for secret in (missing("KEY"), SecretRef("aws", bundle.secret.path, "KEY")):
        await refused(store.create(secret, key), PermanentError, key)
    assert not {"CreateSecret", "PutSecretValue"} & set(aws.calls)


@pytest.mark.parametrize(
    "settings",
    [
        {"tags": {"keyturn:0": "x"}},
        {"tags": {"KEYTURN:x": "x"}},
        {"tags": {"aws:x": "x"}},
        {"tags": {"x": "AWS:x"}},
        {"tags": {"": "x"}},
        {"tags": {"x" * 128: "x"}},
        {"tags": {"x": "x" * 256}},
        {"tags": {"x": "semi;colon"}},
        {"tags": {f"t{number}": "" for number in range(45)}},
        {"kms_key_id": "my key"},
        {"kms_key_id": "arn:aws:iam::123456789012:role/x"},
        {"kms_key_id": "arn:aws:kms:us-east-1:123456789012:key/x", "replicas": ["eu-west-1"]},
        {"replicas": ["nowhere"]},
        {"replicas": [REGION]},
        {"external_id": "without-a-role"},
        {"rotation_lambda_arn": "keyturn"},
    ],
)
def test_settings_that_aws_would_refuse(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        AWSSecretsManager.Settings.model_validate({"region": REGION, **settings})
    assert "semi;colon" not in str(caught.value)
