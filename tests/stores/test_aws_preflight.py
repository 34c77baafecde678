"""What preflight tells of a secret at AWS before a key is made. More of it is in test_aws_secrets_manager.py."""

from __future__ import annotations

import json
import secrets
import uuid

import boto3
import pytest

from keyturn.errors import NotFoundError, PermanentError, ThrottledError, UnavailableError
from keyturn.model import Mark, SecretRef, Stage
from keyturn.model import rotation_id as rotation_of
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble, Kind
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.stores.aws_scene import REGION, Operator, Place, make_store, rotate, wrong_in_preflight

pytestmark = pytest.mark.real

LAMBDA = f"arn:aws:lambda:{REGION}:123456789012:function:keyturn"


async def told(store: AWSSecretsManager, secret: SecretRef) -> list[str]:
    """What could not be told for sure, but for whether writing is allowed."""
    return [f.detail for f in await store.preflight(secret) if f.ok is None and "can be written" not in f.what]


# Names and ARNs.


@pytest.mark.parametrize("name", ["openai", "openai-abc123"])
@pytest.mark.parametrize("field", [None, "KEY"])
async def test_names_and_arns_lead_to_the_same_secret(
    store: AWSSecretsManager, operator: Operator, name: str, field: str | None
) -> None:
    path, old = f"prod/{secrets.token_hex(6)}/{name}", new_key()
    operator.write(path, old.reveal() if field is None else json.dumps({"A": 1, field: old.reveal()}))
    arn = operator.api.describe_secret(SecretId=path)["ARN"]
    ways = [path, arn] if "-" in name else [path, arn, arn[:-7]]
    for way in ways:
        secret = SecretRef("aws", way, field)
        assert [f for f in await store.preflight(secret) if f.ok is False] == []
        _, new, previous = await rotate(store, Place(secret, old))
        assert await store.stages(SecretRef("aws", path, field)) == {Stage.CURRENT: new, Stage.PREVIOUS: previous}


async def test_a_partial_arn_that_looks_like_a_whole_one_is_not_found_and_the_remedy_says_so(
    store: AWSSecretsManager, operator: Operator
) -> None:
    path = f"prod/{secrets.token_hex(6)}/openai-abc123"
    operator.write(path, new_key().reveal())
    partial = SecretRef("aws", operator.api.describe_secret(SecretId=path)["ARN"][:-7])
    assert "whole ARN" in (await refused(store.current(partial), NotFoundError)).remedy


async def test_an_arn_of_another_region_is_told(store: AWSSecretsManager, url: str) -> None:
    far, path = Operator.of(url, "eu-west-1"), f"prod/{secrets.token_hex(6)}/openai"
    far.write(path, new_key().reveal())
    secret = SecretRef("aws", far.api.describe_secret(SecretId=path)["ARN"])
    assert "is not there" in await wrong_in_preflight(store, secret)
    elsewhere = make_store(url, region="eu-west-1")
    assert [f for f in await elsewhere.preflight(secret) if f.ok is False] == []
    await elsewhere.aclose()


async def test_a_secret_of_another_account_is_reached_by_a_role(url: str, whole: Place, aws: AWSDouble) -> None:
    bodies: list[str] = []
    role = "arn:aws:iam::123456789012:role/keyturn"
    store = make_store(url, role_arn=role, sts_endpoint_url=url, external_id="told-by-them")
    aws.before = lambda operation, body: bodies.append(operation)
    await rotate(store, whole)
    assert bodies.count("AssumeRole") == 1
    await store.aclose()


# Room.


async def test_a_bundle_with_no_room_for_a_longer_key_is_told(store: AWSSecretsManager, operator: Operator) -> None:
    path, key = f"prod/{secrets.token_hex(6)}/bundle", new_key()
    secret = SecretRef("aws", path, "KEY")
    room = 65_536 - 1024 - len(json.dumps({"A": "", "KEY": key.reveal()}))
    operator.write(path, json.dumps({"A": "x" * room, "KEY": key.reveal()}))
    assert [f for f in await store.preflight(secret) if f.ok is False] == []
    operator.write(path, json.dumps({"A": "x" * (room + 1), "KEY": key.reveal()}))
    assert "65537" in await wrong_in_preflight(store, secret)


async def test_a_key_so_long_that_three_of_it_do_not_fit_beside_a_field_is_told(
    store: AWSSecretsManager, operator: Operator
) -> None:
    path = f"prod/{secrets.token_hex(6)}/bundle"
    for length, fits in ((15_000, True), (25_000, False)):
        operator.write(path, json.dumps({"KEY": "x" * length}))
        wrong = [f for f in await store.preflight(SecretRef("aws", path, "KEY")) if f.ok is False]
        assert (wrong == []) is fits


# KMS.


@pytest.mark.parametrize("state", ["disabled", "pending deletion"])
async def test_a_kms_key_that_cannot_be_used_is_told_before_anything_is_made(
    url: str, operator: Operator, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = boto3.client("kms", endpoint_url=url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    name, path = kms.create_key()["KeyMetadata"]["KeyId"], f"prod/{secrets.token_hex(6)}/kms"
    operator.api.create_secret(Name=path, SecretString=new_key().reveal(), KmsKeyId=name)
    store, secret = make_store(url), SecretRef("aws", path)
    await store.stages(secret)
    if state == "disabled":
        kms.disable_key(KeyId=name)
    else:
        kms.schedule_key_deletion(KeyId=name)
    # What this process remembers of the value does not hide it.
    monkeypatch.setattr("keyturn.stores.aws_memory.FRESH", 0.0)
    caught = [f for f in await store.preflight(secret) if f.ok is False]
    assert ["KMS key" in f.remedy for f in caught] == [True]
    assert "KMS key" in (await refused(store.stage(secret, new_key(), new_token()), PermanentError)).remedy
    await store.aclose()


async def test_what_kms_says_by_itself_is_told_as_the_keys_fault(
    store: AWSSecretsManager, place: Place, aws: AWSDouble
) -> None:
    for kind in (Kind.KMS, Kind.UNDECRYPTED, Kind.UNENCRYPTED):
        aws.inject("GetSecretValue", kind)
        assert "KMS key" in (await refused(store.current(place.secret), PermanentError, place.key)).remedy


# Somebody else's rotation.


async def test_what_aws_rotates_is_left_alone_unless_keyturns_lambda_is_what_does_it(
    store: AWSSecretsManager, url: str, place: Place, operator: Operator, aws: AWSDouble
) -> None:
    aws.lambdas[LAMBDA] = lambda event, context: None
    operator.api.rotate_secret(SecretId=place.secret.path, RotationLambdaARN=LAMBDA)
    assert "AWS itself rotates it" in await wrong_in_preflight(store, place.secret)
    ours, others = make_store(url, rotation_lambda_arn=LAMBDA), make_store(url, rotation_lambda_arn=f"{LAMBDA}-2")
    assert [f for f in await ours.preflight(place.secret) if f.ok is False] == []
    assert await told(ours, place.secret) == []
    assert "AWS itself rotates it" in await wrong_in_preflight(others, place.secret)
    for each in (ours, others):
        await each.aclose()


async def test_a_foreign_awspending_is_told(store: AWSSecretsManager, place: Place, operator: Operator) -> None:
    assert await told(store, place.secret) == []
    token = str(uuid.uuid4())
    operator.api.put_secret_value(
        SecretId=place.secret.path, SecretString="theirs", ClientRequestToken=token, VersionStages=["AWSPENDING"]
    )
    (detail,) = await told(store, place.secret)
    assert token in detail
    assert "theirs" not in detail
    assert ("replaces it" if place.secret.field is None else "leaves it") in detail


async def test_an_awspending_of_ours_or_of_a_rotation_that_is_over_is_nothing_to_tell(
    store: AWSSecretsManager, whole: Place, operator: Operator
) -> None:
    mark = Mark.of("openai-prod", "x")
    await store.stage(whole.secret, new_key(), rotation_of(mark, whole.key.fingerprint(), 0))
    assert await told(store, whole.secret) == []
    lambdas = str(uuid.uuid4())  # AWS chose it, and the rotation's note names it
    await store.stage(whole.secret, new_key(), lambdas)
    assert await told(store, whole.secret) != []
    await store.annotate(whole.secret, {"rotation": lambdas})
    assert await told(store, whole.secret) == []
    current = operator.labels(whole.secret.path)["AWSCURRENT"]
    operator.api.update_secret_version_stage(
        SecretId=whole.secret.path, VersionStage="AWSPENDING", RemoveFromVersionId=lambdas, MoveToVersionId=current
    )
    assert await told(store, whole.secret) == []


# Replicas.


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        ("Failed", "Replication failed: Secret name already exists in region eu-west-1.", "a secret of this name"),
        ("Failed", "Access to KMS is not allowed", "the KMS key there"),
        ("Failed", "not authorized", "a permission is missing"),
        ("Failed", "something new", "its replication there has failed"),
        ("Detached", "", "a secret of its own"),
    ],
)
async def test_a_replica_that_will_not_come_is_told_before_and_after(
    url: str, whole: Place, operator: Operator, aws: AWSDouble, status: str, message: str, words: str
) -> None:
    operator.api.replicate_secret_to_regions(SecretId=whole.secret.path, AddReplicaRegions=[{"Region": "eu-west-1"}])
    store = make_store(url, replicas=["eu-west-1"])
    aws.show_replicas("eu-west-1", status, message)
    details = await wrong_in_preflight(store, whole.secret)
    assert words in details
    assert not message or message not in details
    caught = await refused(rotate(store, whole), PermanentError, whole.key)
    assert words in caught.message
    await store.aclose()


async def test_a_replica_that_is_late_is_waited_for(url: str, whole: Place, operator: Operator, aws: AWSDouble) -> None:
    operator.api.replicate_secret_to_regions(SecretId=whole.secret.path, AddReplicaRegions=[{"Region": "eu-west-1"}])
    store = make_store(url, replicas=["eu-west-1"], replica_timeout="1s")
    aws.show_replicas("eu-west-1", "InProgress")
    assert [f for f in await store.preflight(whole.secret) if f.ok is False] == []
    assert "not in sync" in (await refused(store.settled(whole.secret), UnavailableError)).message
    aws.show_replicas("eu-west-1", "InSync")
    await store.settled(whole.secret)
    await store.aclose()


async def test_throttling_is_told_as_what_passes(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    aws.inject("DescribeSecret", Kind.THROTTLED, times=0)
    await refused(store.preflight(place.secret), ThrottledError)
