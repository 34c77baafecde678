"""What this process remembers of versions is what AWS would say, and no more of it than there has to be."""

from __future__ import annotations

import secrets

import pytest

from keyturn.errors import ConflictError
from keyturn.model import SecretRef, Stage
from keyturn.stores.aws_memory import MOST, Remembered
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.stores.aws_scene import REGION, Operator, Place


@pytest.mark.real
async def test_a_version_is_asked_for_once(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    await store.stage(place.secret, new_key(), new_token())
    aws.calls.clear()
    for _ in range(3):
        await store.stages(place.secret)
    assert aws.calls == {"DescribeSecret": 3}
    await store.aclose()
    await store.stages(place.secret)
    assert aws.calls["GetSecretValue"] == 2  # CURRENT, and PENDING or the field's journal


@pytest.mark.real
async def test_what_aws_refused_to_write_is_not_remembered(
    store: AWSSecretsManager, whole: Place, operator: Operator
) -> None:
    token, theirs, ours, path = new_token(), new_key(), new_key(), whole.secret.path
    given = {"SecretId": path, "SecretString": theirs.reveal(), "ClientRequestToken": token}
    operator.api.put_secret_value(**given, VersionStages=["theirs"])
    await refused(store.stage(whole.secret, ours, token), ConflictError, ours, theirs)
    operator.api.update_secret_version_stage(SecretId=path, VersionStage="AWSPENDING", MoveToVersionId=token)
    assert (await store.stages(whole.secret))[Stage.PENDING].fingerprint == theirs.fingerprint()


@pytest.mark.real
async def test_an_empty_version_is_asked_for_until_it_has_a_value(
    store: AWSSecretsManager, whole: Place, operator: Operator, aws: AWSDouble
) -> None:
    function = f"arn:aws:lambda:{REGION}:123456789012:function:x"
    aws.lambdas[function] = lambda event, context: None
    token = operator.api.rotate_secret(SecretId=whole.secret.path, RotationLambdaARN=function)["VersionId"]
    assert set(await store.stages(whole.secret)) == {Stage.CURRENT}
    key = new_key()
    operator.api.put_secret_value(
        SecretId=whole.secret.path,
        SecretString=key.reveal(),
        ClientRequestToken=token,
        VersionStages=["AWSPENDING"],
    )
    assert (await store.stages(whole.secret))[Stage.PENDING].fingerprint == key.fingerprint()


@pytest.mark.real
async def test_a_secret_that_is_made_again_under_its_name_is_another(store: AWSSecretsManager, operator: Operator) -> None:
    path, token = f"prod/{secrets.token_hex(6)}/openai", new_token()
    for key in (new_key(), new_key()):
        operator.api.create_secret(Name=path, SecretString=key.reveal(), ClientRequestToken=token)
        stages = await store.stages(SecretRef("aws", path))
        assert stages[Stage.CURRENT].fingerprint == key.fingerprint()
        operator.api.delete_secret(SecretId=path, ForceDeleteWithoutRecovery=True)


def test_it_is_bounded_and_the_least_used_goes_first() -> None:
    remembered = Remembered()
    for number in range(MOST):
        remembered.keep("arn", str(number), f"text {number}\n", read=True)
    assert remembered.text("arn", "0") == "text 0\n"
    remembered.keep("arn", "one more", "x", read=False)
    assert remembered.text("arn", "0") == "text 0\n"
    assert remembered.text("arn", "1") is None
    assert not remembered.was_just_read("arn", "1")
    assert (remembered.was_just_read("arn", "0"), remembered.was_just_read("arn", "one more")) == (True, False)
    remembered.forget()
    assert remembered.text("arn", "0") is None


def test_nothing_prints_it_and_what_has_no_address_or_text_is_not_kept() -> None:
    remembered, key = Remembered(), new_key().reveal()
    remembered.keep("arn", "id", key, read=True)
    remembered.keep("", "id", key, read=True)
    remembered.keep("arn", "empty", "", read=True)
    assert list(remembered._texts) == [("arn", "id")]
    assert "***" in repr(remembered._texts)
    assert key not in repr(vars(remembered))
