"""The AWS store against the strict double of AWS."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import boto3
import pytest
from pydantic import ValidationError

from keyturn.errors import (
    ConflictError,
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.stores.aws_secrets_manager import ACTIONS, CREATE_ACTIONS, AWSSecretsManager
from keyturn.testing.aws_double import AWSDouble, Kind
from keyturn.testing.processes import free_port
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.stores.aws_scene import REGION, AWSSuite, Operator, Place, make_store, rotate, wrong_in_preflight

pytestmark = pytest.mark.real


class TestAWSSecretsManager(AWSSuite):
    url: str

    @pytest.fixture(autouse=True)
    def _aws(self, aws: AWSDouble, url: str, operator: Operator) -> None:
        self.url, self.operator = url, operator

    async def make_store(self) -> SecretStore:
        return make_store(self.url)


# Faults.


@pytest.mark.parametrize("attempts_lost", [1, 3], ids=["one answer", "every answer"])
@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
async def test_a_rotation_whose_answers_are_lost_is_finished_by_repeating(
    store: AWSSecretsManager, place: Place, aws: AWSDouble, operation: str, attempts_lost: int
) -> None:
    key, token, old = new_key(), new_token(), (await store.current(place.secret)).version
    new = VersionRef(token, key.fingerprint())
    for verb in (lambda: store.stage(place.secret, key, token), lambda: store.promote(place.secret, new, old)):
        aws.inject(operation, Kind.LOST, times=attempts_lost)
        try:
            await verb()
        except UnavailableError:
            assert attempts_lost == 3
        aws.heal()
        await verb()
    assert await store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (Kind.THROTTLED, ThrottledError, "ThrottlingException"),
        (Kind.FAILED, UnavailableError, "InternalServiceError"),
        (Kind.LOST, UnavailableError, "ConnectionClosedError"),
        (Kind.DENIED, DeniedError, "allow secretsmanager:"),
        (Kind.EXPIRED, DeniedError, "keyturn's own credentials"),
    ],
)
@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"])
async def test_a_fault_is_told_in_our_words_and_quotes_no_key(
    store: AWSSecretsManager,
    place: Place,
    aws: AWSDouble,
    operation: str,
    kind: Kind,
    error: type[KeyturnError],
    words: str,
) -> None:
    key, old = new_key(), (await store.current(place.secret)).version
    aws.inject(operation, kind, times=0)

    async def turn() -> None:
        await store.promote(place.secret, await store.stage(place.secret, key, new_token()), old)

    caught = await refused(turn(), error, key, place.key)
    assert words in str(caught)
    assert str(place.secret) in str(caught)
    assert operation in str(caught) or kind is Kind.EXPIRED
    assert caught.__cause__ is None
    assert caught.__context__ is None


async def test_one_fault_is_not_even_seen(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    for kind in (Kind.THROTTLED, Kind.FAILED, Kind.LOST):
        aws.inject("GetSecretValue", kind)
        assert (await store.current(place.secret)).material == place.key


async def test_a_denied_tag_write_names_the_action(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    aws.inject("TagResource", Kind.DENIED)
    assert "secretsmanager:TagResource" in str(await refused(store.annotate(place.secret, {"a": "b"}), DeniedError))


async def test_a_timeout_is_unavailable(url: str, place: Place, aws: AWSDouble) -> None:
    hasty = make_store(url, timeout="1s")
    aws.inject("GetSecretValue", Kind.SLOW, times=0, seconds=1.5)
    assert "ReadTimeoutError" in str(await refused(hasty.current(place.secret), UnavailableError, place.key))
    await hasty.aclose()


async def test_nobody_there_is_unavailable(place: Place) -> None:
    store = make_store(f"http://127.0.0.1:{free_port()}")
    await refused(store.current(place.secret), UnavailableError)


# Credentials.


async def test_without_credentials_the_store_says_what_to_give(
    url: str, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for settings in ({}, {"role_arn": "arn:aws:iam::123456789012:role/keyturn"}, {"profile": "missing"}):
        store = make_store(url, access_key_id=None, secret_access_key=None, **settings)
        assert "access_key_id" in str(await refused(store.current(place.secret), MisconfiguredError))


async def test_a_role_is_assumed(url: str, place: Place, aws: AWSDouble) -> None:
    store = make_store(url, role_arn="arn:aws:iam::123456789012:role/keyturn", sts_endpoint_url=url)
    assert (await store.current(place.secret)).material == place.key
    assert (await store.current(place.secret)).material == place.key
    assert aws.calls["AssumeRole"] == 1
    await store.aclose()


async def test_a_role_that_may_not_be_assumed_is_named_as_the_cause(url: str, place: Place, aws: AWSDouble) -> None:
    store = make_store(url, role_arn="arn:aws:iam::123456789012:role/keyturn", sts_endpoint_url=url)
    aws.inject("AssumeRole", Kind.DENIED, times=0)
    assert "allow sts:AssumeRole" in str(await refused(store.current(place.secret), DeniedError))


async def test_refused_credentials_are_read_anew(url: str, place: Place, aws: AWSDouble) -> None:
    asked: list[str] = []

    async def resolve(reference: str) -> KeyMaterial:
        asked.append(reference)
        return KeyMaterial("double")

    store = AWSSecretsManager(make_store(url)._settings, resolve)
    aws.inject("GetSecretValue", Kind.EXPIRED)
    await refused(store.current(place.secret), DeniedError)
    assert (await store.current(place.secret)).material == place.key
    await store.current(place.secret)
    assert asked == ["env:ID", "env:SECRET"] * 2
    await store.aclose()


def test_settings_refuse_half_a_credential() -> None:
    for settings in (
        {"access_key_id": "env:ID"},
        {"access_key_id": "env:ID", "secret_access_key": "env:SECRET", "profile": "x"},
        {"access_key_id": "not a reference"},
        {"region": "nowhere"},
        {"role_arn": "keyturn"},
    ):
        with pytest.raises(ValidationError):
            AWSSecretsManager.Settings.model_validate({"region": REGION, **settings})


# What stands at AWS.


async def test_the_token_is_the_version_and_awspending_goes(
    store: AWSSecretsManager, whole: Place, operator: Operator
) -> None:
    _, new, old = await rotate(store, whole)
    assert operator.labels(whole.secret.path) == {"AWSCURRENT": new.id, "AWSPREVIOUS": old.id}


async def test_somebody_elses_awspending_is_replaced(store: AWSSecretsManager, whole: Place, operator: Operator) -> None:
    path = whole.secret.path
    operator.api.put_secret_value(SecretId=path, SecretString='{"no": "key"}\n', VersionStages=["AWSPENDING"])
    assert set(await store.stages(whole.secret)) == {Stage.CURRENT}
    _, new, _ = await rotate(store, whole)
    assert operator.labels(path)["AWSCURRENT"] == new.id
    assert "AWSPENDING" not in operator.labels(path)


async def test_a_secret_without_a_value_is_not_staged(store: AWSSecretsManager, operator: Operator) -> None:
    path = f"prod/{secrets.token_hex(6)}/empty"
    operator.api.create_secret(Name=path)
    await refused(store.stage(SecretRef("aws", path), new_key(), new_token()), NotFoundError)
    assert "VersionIdsToStages" not in operator.api.describe_secret(SecretId=path)


async def test_a_secret_without_a_value_takes_no_spent_token(store: AWSSecretsManager, operator: Operator) -> None:
    """Its version would become AWSCURRENT."""
    path = f"prod/{secrets.token_hex(6)}/empty"
    operator.api.create_secret(Name=path)
    for field in (None, "OPENAI_API_KEY"):
        await refused(store.spend(SecretRef("aws", path, field), new_token()), NotFoundError)
    assert "VersionIdsToStages" not in operator.api.describe_secret(SecretId=path)


async def test_a_spent_token_is_a_version_that_is_no_key(
    store: AWSSecretsManager, whole: Place, operator: Operator, aws: AWSDouble
) -> None:
    path, tokens = whole.secret.path, (new_token(), new_token())
    before = operator.labels(path)
    for token in tokens:
        await store.spend(whole.secret, token)
        assert operator.labels(path) == {**before, "keyturn/draft": token}
        text = operator.api.get_secret_value(SecretId=path, VersionId=token)["SecretString"]
        with pytest.raises(ValueError, match="white space"):
            KeyMaterial(text)
    await store.spend(whole.secret, tokens[0])
    assert operator.labels(path) == {**before, "keyturn/draft": tokens[1]}
    versions = operator.api.list_secret_version_ids(SecretId=path, IncludeDeprecated=True)["Versions"]
    assert {version["VersionId"] for version in versions} == {before["AWSCURRENT"], *tokens}
    await refused(store.stage(whole.secret, new_key(), tokens[0]), ConflictError)  # it has no label any more


async def test_spending_again_takes_no_version_and_no_label(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    token = new_token()
    await store.spend(place.secret, token)
    aws.calls.clear()
    await store.spend(place.secret, token)
    assert aws.calls["UpdateSecretVersionStage"] == 0
    assert aws.calls["PutSecretValue"] == (0 if place.secret.field else 1)


async def test_the_bytes_beside_a_field_stay(store: AWSSecretsManager, operator: Operator) -> None:
    path, old = f"prod/{secrets.token_hex(6)}/bundle", new_key()
    document = '{\n  "A" : 1.0,\n  "KEY":"%s",  "B": "\\u00e9", "C": 1E5 }\n'
    operator.write(path, document % old.reveal())
    key, _, _ = await rotate(store, Place(SecretRef("aws", path, "KEY"), old))
    assert operator.read(path) == document % key.reveal()


async def test_ten_workers_turn_ten_fields_of_one_bundle(url: str, aws: AWSDouble, operator: Operator) -> None:
    path, names = f"prod/{secrets.token_hex(6)}/bundle", [f"KEY_{number}" for number in range(10)]
    operator.write(path, json.dumps({name: new_key().reveal() for name in names}))
    places = [Place(SecretRef("aws", path, name), new_key()) for name in names]
    stores = [make_store(url) for _ in names]
    for _ in range(2):  # the second time every field has a PREVIOUS
        turns = await asyncio.gather(*(rotate(store, place) for store, place in zip(stores, places, strict=True)))
        assert json.loads(operator.read(path)) == {name: turn[0].reveal() for name, turn in zip(names, turns, strict=True)}
        for store, place, (_, new, old) in zip(stores, places, turns, strict=True):
            assert await store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
    assert len(operator.labels(path)) == 13
    for store in stores:
        await store.aclose()


async def test_one_process_wastes_no_versions(store: AWSSecretsManager, operator: Operator, aws: AWSDouble) -> None:
    path, names = f"prod/{secrets.token_hex(6)}/bundle", [f"KEY_{number}" for number in range(10)]
    operator.write(path, json.dumps({name: new_key().reveal() for name in names}))
    aws.calls.clear()
    await asyncio.gather(*(rotate(store, Place(SecretRef("aws", path, name), new_key())) for name in names))
    assert aws.calls["PutSecretValue"] == 20


async def test_previous_stays_readable_while_other_fields_move_on(
    store: AWSSecretsManager, bundle: Place, operator: Operator
) -> None:
    _, _, old = await rotate(store, bundle)
    for number in range(120):  # more than AWS keeps without a label
        operator.api.put_secret_value(
            SecretId=bundle.secret.path,
            SecretString=json.dumps(json.loads(operator.read(bundle.secret.path)) | {"OTHER": str(number)}),
        )
    assert await store.read(bundle.secret, old) == bundle.key


async def test_two_fields_of_a_bundle_may_have_the_same_token(
    store: AWSSecretsManager, bundle: Place, operator: Operator
) -> None:
    operator.set_field(bundle.secret.path, "SECOND", new_key().reveal())
    second = SecretRef("aws", bundle.secret.path, "SECOND")
    token = new_token()
    for secret in (bundle.secret, second):
        version = await store.stage(secret, new_key(), token)
        assert (await store.stages(secret))[Stage.PENDING] == version


async def test_a_bundle_without_a_label_left_says_so_and_serves_on(
    store: AWSSecretsManager, bundle: Place, operator: Operator
) -> None:
    path = bundle.secret.path
    current = operator.labels(path)["AWSCURRENT"]
    for number in range(18):
        operator.api.update_secret_version_stage(SecretId=path, VersionStage=f"theirs-{number}", MoveToVersionId=current)
    wrong = [finding for finding in await store.preflight(bundle.secret) if finding.ok is False]
    assert [finding.detail for finding in wrong] == ["it has no staging label left"]
    caught = await refused(store.stage(bundle.secret, new_key(), new_token()), PermanentError, bundle.key)
    assert "staging labels (20)" in str(caught)
    assert (await store.current(bundle.secret)).material == bundle.key


async def test_seventeen_fields_of_a_secret_have_labels(store: AWSSecretsManager, bundle: Place, operator: Operator) -> None:
    path = bundle.secret.path
    current = operator.labels(path)["AWSCURRENT"]
    details = []
    for number in range(1, 18):
        label = f"keyturn/field/ANOTHER_{number}"
        operator.api.update_secret_version_stage(SecretId=path, VersionStage=label, MoveToVersionId=current)
        details.append([found.detail for found in await store.preflight(bundle.secret) if found.ok is False])
    assert details == [[]] * 16 + [["it has no staging label left"]]


async def test_a_whole_secret_needs_four_labels_beside_current(
    store: AWSSecretsManager, whole: Place, operator: Operator
) -> None:
    path = whole.secret.path
    current = operator.labels(path)["AWSCURRENT"]
    for number in range(16):
        operator.api.update_secret_version_stage(SecretId=path, VersionStage=f"theirs-{number}", MoveToVersionId=current)
    wrong = [finding for finding in await store.preflight(whole.secret) if finding.ok is False]
    assert [finding.detail for finding in wrong] == ["it has no staging label left"]
    operator.api.update_secret_version_stage(SecretId=path, VersionStage="theirs-0", RemoveFromVersionId=current)
    assert [finding for finding in await store.preflight(whole.secret) if finding.ok is False] == []
    _, _, old = await rotate(store, whole)
    await store.discard(whole.secret, await store.stage(whole.secret, new_key(), new_token()))
    assert (await store.stages(whole.secret))[Stage.PREVIOUS] == old
    await store.stage(whole.secret, new_key(), new_token())
    await store.bar(whole.secret, old)
    ours = {label for label in operator.labels(path) if not label.startswith("theirs-")}
    assert ours == {"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "keyturn/draft", "keyturn/barred"}
    await store.discard(whole.secret, old)
    labels = operator.labels(path)
    assert [label for label in ours if labels.get(label) == old.id] == []  # AWS keeps what has a label


async def test_what_is_barred_says_no_more_than_fingerprints(
    store: AWSSecretsManager, place: Place, operator: Operator
) -> None:
    path = place.secret.path
    key, _, old = await rotate(store, place)
    await store.bar(place.secret, old)
    label = f"keyturn/field/{place.secret.field}" if place.secret.field else "keyturn/barred"
    text = operator.api.get_secret_value(SecretId=path, VersionStage=label)["SecretString"]
    ((fingerprint, at, _),) = json.loads(text)["barred"]
    assert fingerprint == old.fingerprint
    assert at != operator.labels(path)["AWSCURRENT"]
    if place.secret.field is None:
        assert not any(material.reveal() in text for material in (key, place.key))
        with pytest.raises(ValueError, match="white space"):
            KeyMaterial(text)


async def test_a_promote_of_what_is_barred_says_so(store: AWSSecretsManager, place: Place) -> None:
    _, new, old = await rotate(store, place)
    await store.bar(place.secret, old)
    assert "barred" in str(await refused(store.promote(place.secret, old, new), ConflictError, place.key))


async def test_barring_again_writes_nothing_until_another_field_has_moved_the_bundle(
    store: AWSSecretsManager, place: Place, operator: Operator, aws: AWSDouble
) -> None:
    _, new, old = await rotate(store, place)
    await store.bar(place.secret, old)
    aws.calls.clear()
    await store.bar(place.secret, old)
    assert set(aws.calls) == {"DescribeSecret"}
    if place.secret.field is not None:
        operator.set_field(place.secret.path, "OTHER", "y")
        await store.bar(place.secret, old)
        assert json.loads(operator.read(place.secret.path))["OTHER"] == "y"
    await refused(store.promote(place.secret, old, new), ConflictError, place.key)


async def test_a_version_that_is_not_ours_under_the_label_for_bars_is_not_guessed_at(
    store: AWSSecretsManager, whole: Place, operator: Operator
) -> None:
    operator.api.put_secret_value(SecretId=whole.secret.path, SecretString="theirs", VersionStages=["keyturn/barred"])
    assert "keyturn/barred" in str(await refused(store.stages(whole.secret), MisconfiguredError))


async def test_a_journal_from_before_there_were_bars_is_read(
    store: AWSSecretsManager, bundle: Place, operator: Operator
) -> None:
    path, label = bundle.secret.path, f"keyturn/field/{bundle.secret.field}"
    _, new, old = await rotate(store, bundle)
    document = json.loads(operator.api.get_secret_value(SecretId=path, VersionStage=label)["SecretString"])
    del document["barred"]
    operator.api.put_secret_value(SecretId=path, SecretString=json.dumps(document), VersionStages=[label])
    assert await store.stages(bundle.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
    await store.bar(bundle.secret, old)
    await refused(store.promote(bundle.secret, old, new), ConflictError)


async def test_a_document_that_is_not_ours_under_our_label_is_not_guessed_at(
    store: AWSSecretsManager, bundle: Place, operator: Operator
) -> None:
    label = f"keyturn/field/{bundle.secret.field}"
    operator.api.put_secret_value(SecretId=bundle.secret.path, SecretString="theirs", VersionStages=[label])
    assert label in str(await refused(store.stages(bundle.secret), MisconfiguredError))


async def test_too_long_a_value_is_refused_before_anything_is_sent(
    store: AWSSecretsManager, whole: Place, aws: AWSDouble
) -> None:
    key = KeyMaterial("x" * 65_537)
    aws.calls.clear()
    assert "65537 bytes" in str(await refused(store.stage(whole.secret, key, new_token()), PermanentError, key))
    assert "PutSecretValue" not in aws.calls


async def test_a_value_that_no_header_can_carry_is_misconfigured(
    store: AWSSecretsManager, operator: Operator, whole: Place
) -> None:
    text = new_key().reveal()
    operator.write(whole.secret.path, text + "\n")
    caught = await refused(store.current(whole.secret), MisconfiguredError)
    assert "white space" in str(caught)
    assert text not in str(caught)


async def test_a_disabled_kms_key_is_told(store: AWSSecretsManager, url: str, operator: Operator) -> None:
    kms = boto3.client(
        "kms", endpoint_url=url, region_name=REGION, aws_access_key_id="operator", aws_secret_access_key="any text"
    )
    name, path = kms.create_key()["KeyMetadata"]["KeyId"], f"prod/{secrets.token_hex(6)}/kms"
    operator.api.create_secret(Name=path, SecretString=new_key().reveal(), KmsKeyId=name)
    kms.disable_key(KeyId=name)
    assert "KMS key" in str(await refused(store.current(SecretRef("aws", path)), PermanentError))


# Replicas.


async def test_a_promote_waits_for_its_replicas(url: str, whole: Place, operator: Operator) -> None:
    operator.api.replicate_secret_to_regions(SecretId=whole.secret.path, AddReplicaRegions=[{"Region": "eu-west-1"}])
    store = make_store(url, replicas=["eu-west-1"])
    key, _, _ = await rotate(store, whole)
    assert Operator.of(url, "eu-west-1").read(whole.secret.path) == key.reveal()
    assert all(finding.ok is not False for finding in await store.preflight(whole.secret))
    await store.aclose()


async def test_a_missing_replica_is_told_before_and_after(url: str, whole: Place, aws: AWSDouble) -> None:
    store = make_store(url, replicas=["eu-west-1"])
    wrong = [finding for finding in await store.preflight(whole.secret) if finding.ok is False]
    assert [finding.detail for finding in wrong] == ["eu-west-1: it is not replicated there"]
    assert "holds the new value, which does not come to" in str(await refused(rotate(store, whole), PermanentError))
    await store.aclose()


# Preflight.


@pytest.mark.story("litellm#10823: a name that is being deleted")
async def test_preflight_finds_a_secret_scheduled_for_deletion(
    store: AWSSecretsManager, place: Place, operator: Operator
) -> None:
    operator.api.delete_secret(SecretId=place.secret.path, RecoveryWindowInDays=7)
    assert "scheduled for deletion" in await wrong_in_preflight(store, place.secret)
    await refused(store.stage(place.secret, new_key(), new_token()), PermanentError)


async def test_preflight_finds_a_replica(url: str, place: Place, operator: Operator) -> None:
    operator.api.replicate_secret_to_regions(SecretId=place.secret.path, AddReplicaRegions=[{"Region": "eu-west-1"}])
    store = make_store(url, region="eu-west-1")
    assert "replica of us-east-1" in await wrong_in_preflight(store, place.secret)
    await store.aclose()


async def test_preflight_finds_a_bundle_taken_for_a_key(store: AWSSecretsManager, bundle: Place) -> None:
    assert "JSON object" in await wrong_in_preflight(store, SecretRef("aws", bundle.secret.path))


async def test_preflight_finds_a_key_taken_for_a_bundle(store: AWSSecretsManager, whole: Place) -> None:
    details = await wrong_in_preflight(store, SecretRef("aws", whole.secret.path, "OPENAI_API_KEY"))
    assert "not a JSON object" in details
    assert whole.key.reveal() not in details


async def test_preflight_finds_too_long_a_field_name(store: AWSSecretsManager, bundle: Place) -> None:
    assert "longer than" in await wrong_in_preflight(store, SecretRef("aws", bundle.secret.path, "X" * 101))


async def test_preflight_finds_a_denied_read(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    for operation in ("DescribeSecret", "GetSecretValue"):
        aws.inject(operation, Kind.DENIED)
        assert operation in await wrong_in_preflight(store, place.secret)


async def test_preflight_of_an_aws_that_does_not_answer_is_raised(
    store: AWSSecretsManager, place: Place, aws: AWSDouble
) -> None:
    aws.inject("*", Kind.FAILED, times=0)
    await refused(store.preflight(place.secret), UnavailableError)


async def test_preflight_names_what_it_cannot_try(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    aws.calls.clear()
    unknown = [finding for finding in await store.preflight(place.secret) if finding.ok is None]
    assert all(action in unknown[0].detail for action in ACTIONS)
    assert set(aws.calls) == {"DescribeSecret", "GetSecretValue"}


# Notes.


async def test_notes_of_ten_fields_fit_beside_each_other(
    store: AWSSecretsManager, bundle: Place, operator: Operator, aws: AWSDouble
) -> None:
    names = [f"KEY_{number}" for number in range(10)]
    notes = {f"note_{letter}": "x" * 60 for letter in "abcdefghijkl"}
    for name in names:
        await store.annotate(SecretRef("aws", bundle.secret.path, name), notes)
    for name in names:
        assert await store.annotations(SecretRef("aws", bundle.secret.path, name)) == notes
    aws.calls.clear()
    await store.annotate(SecretRef("aws", bundle.secret.path, names[0]), notes)
    assert set(aws.calls) == {"DescribeSecret"}
    for name in names:
        await store.annotate(SecretRef("aws", bundle.secret.path, name), dict.fromkeys(notes))
    assert operator.api.describe_secret(SecretId=bundle.secret.path)["Tags"] == []


async def test_notes_leave_other_tags_alone(store: AWSSecretsManager, place: Place, operator: Operator) -> None:
    theirs = [{"Key": "team", "Value": "ml"}, {"Key": "keyturn:of-theirs", "Value": "x"}]
    operator.api.tag_resource(SecretId=place.secret.path, Tags=theirs)  # type: ignore[arg-type]
    await store.annotate(place.secret, {"new_key": "svc_1"})
    await store.annotate(place.secret, {"new_key": None})
    assert operator.api.describe_secret(SecretId=place.secret.path)["Tags"] == theirs


async def test_preflight_finds_too_few_tags_for_the_notes(
    store: AWSSecretsManager, place: Place, operator: Operator
) -> None:
    path = place.secret.path

    def theirs(first: int, last: int) -> None:
        operator.api.tag_resource(
            SecretId=path, Tags=[{"Key": f"theirs-{number}", "Value": "x"} for number in range(first, last)]
        )

    async def wrong() -> list[tuple[str, str]]:
        return [(found.detail, found.remedy) for found in await store.preflight(place.secret) if found.ok is False]

    theirs(0, 40)
    assert await wrong() == []
    theirs(40, 41)
    ((detail, remedy),) = await wrong()
    assert detail == "it has 9 tags for keyturn's notes of this value, which may grow to 10"
    assert "50" in remedy
    await store.annotate(place.secret, {"a" * 24: "x" * 120, "b" * 24: "x" * 120})  # two tags, which it has already
    assert len(await wrong()) == 1
    operator.api.untag_resource(SecretId=path, TagKeys=["theirs-40"])
    assert await wrong() == []


async def test_tags_that_are_not_there_to_be_counted(store: AWSSecretsManager, operator: Operator) -> None:
    """AWS does not count its own; notes that are long already are not counted on top of the longest."""
    path = f"prod/{secrets.token_hex(6)}/openai"
    own = [{"Key": f"aws:cloudformation:{name}", "Value": "x"} for name in ("stack-id", "stack-name", "logical-id")]
    operator.api.create_secret(Name=path, SecretString=new_key().reveal(), Tags=own)  # type: ignore[arg-type]
    secret = SecretRef("aws", path)
    theirs = [{"Key": f"theirs-{number}", "Value": "x"} for number in range(40)]
    operator.api.tag_resource(SecretId=path, Tags=theirs)  # type: ignore[arg-type]
    await store.annotate(secret, {f"note_{letter}": "x" * 120 for letter in "abcdefghijkl"})
    assert sum(tag["Key"].startswith("keyturn:") for tag in operator.api.describe_secret(SecretId=path)["Tags"]) == 7
    assert [finding for finding in await store.preflight(secret) if finding.ok is False] == []


async def test_notes_for_which_no_tag_is_left_are_refused_in_our_words(
    store: AWSSecretsManager, place: Place, operator: Operator
) -> None:
    theirs = [{"Key": f"theirs-{number}", "Value": "x"} for number in range(50)]
    operator.api.tag_resource(SecretId=place.secret.path, Tags=theirs)  # type: ignore[arg-type]
    caught = await refused(store.annotate(place.secret, {"new_key": "svc_1"}), PermanentError, place.key)
    assert "TagResource" in caught.message
    assert "50 tags" in caught.remedy
    assert await store.annotations(place.secret) == {}


# The policies for users.


async def test_a_proxy_reads_current_in_one_call(store: AWSSecretsManager, place: Place, aws: AWSDouble) -> None:
    aws.calls.clear()
    await store.current(place.secret)
    assert aws.calls == {"GetSecretValue": 1}


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("aws-policy.json", set(ACTIONS)),
        ("aws-policy-proxy.json", {"secretsmanager:GetSecretValue"}),
        ("aws-policy-put.json", {*ACTIONS[:4], *CREATE_ACTIONS}),
    ],
)
def test_the_example_policies_allow_what_is_needed_and_no_more(name: str, actions: set[str]) -> None:
    policy = json.loads((Path(__file__).parents[2] / "deployments" / name).read_text())
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    kms = {action for action in allowed if action.startswith("kms:")}
    assert allowed - kms == actions
    assert all(resource != "*" for statement in policy["Statement"] for resource in statement["Resource"])
