"""The double answers as AWS documents, where moto alone would let wrong code pass."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from keyturn.testing.aws_double import AWSDouble, Kind
from keyturn.testing.processes import Processes, free_port, wait_for_http

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url(double: AWSDouble) -> Iterator[str]:
    yield double.start()
    double.stop()


@pytest.fixture(scope="module")
def double() -> AWSDouble:
    return AWSDouble()


@pytest.fixture(autouse=True)
def _healthy(double: AWSDouble) -> Iterator[None]:
    yield
    double.heal()


def client(service: str, url: str, region: str = "us-east-1") -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=url,
        region_name=region,
        aws_access_key_id="double",
        aws_secret_access_key="any text",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return client("secretsmanager", url)


@pytest.fixture
def name(api: Any) -> str:
    """A secret with one version."""
    name = f"test/{secrets.token_hex(6)}"
    api.create_secret(Name=name, SecretString="first")
    return name


def refusal(call: Callable[..., object], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def put(api: Any, name: str, text: str, *labels: str, token: str = "") -> str:
    given = {"VersionStages": list(labels)} if labels else {}
    token = token or str(uuid.uuid4())
    api.put_secret_value(SecretId=name, SecretString=text, ClientRequestToken=token, **given)
    return token


def labels(api: Any, name: str) -> dict[str, str]:
    stages = api.describe_secret(SecretId=name)["VersionIdsToStages"]
    return {label: version for version, held in stages.items() for label in held}


# The rows of AWS's documentation.


def test_what_is_not_found_is_a_400(api: Any, name: str) -> None:
    assert refusal(api.get_secret_value, SecretId="missing") == (400, "ResourceNotFoundException")
    assert refusal(api.describe_secret, SecretId="missing") == (400, "ResourceNotFoundException")
    assert refusal(api.put_secret_value, SecretId="missing", SecretString="x") == (400, "ResourceNotFoundException")
    assert refusal(api.get_secret_value, SecretId=name, VersionStage="none") == (400, "ResourceNotFoundException")
    other = put(api, name, "second", "AWSPENDING")
    wrong = {"VersionId": other, "VersionStage": "AWSCURRENT"}
    assert refusal(api.get_secret_value, SecretId=name, **wrong) == (400, "InvalidRequestException")


def test_versions_without_a_label_are_not_described(api: Any, name: str) -> None:
    first = labels(api, name)["AWSCURRENT"]
    second, third = put(api, name, "second"), put(api, name, "third")
    assert api.describe_secret(SecretId=name)["VersionIdsToStages"] == {third: ["AWSCURRENT"], second: ["AWSPREVIOUS"]}
    assert {version["VersionId"] for version in api.list_secret_version_ids(SecretId=name)["Versions"]} == {second, third}
    listed = api.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
    assert {version["VersionId"] for version in listed} == {first, second, third}
    (secret,) = api.list_secrets(Filters=[{"Key": "name", "Values": [name]}])["SecretList"]
    assert set(secret["SecretVersionsToStages"]) == {second, third}


def test_awscurrent_is_moved_and_never_removed(api: Any, name: str) -> None:
    current = labels(api, name)["AWSCURRENT"]
    given = {"SecretId": name, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": current}
    assert refusal(api.update_secret_version_stage, **given) == (400, "InvalidParameterException")
    assert api.get_secret_value(SecretId=name)["VersionId"] == current


def test_moving_a_label_compares(api: Any, name: str) -> None:
    first = labels(api, name)["AWSCURRENT"]
    second, third = put(api, name, "second", "AWSPENDING"), put(api, name, "third", "mine")
    move = api.update_secret_version_stage
    for wrong in ({}, {"RemoveFromVersionId": third}):
        for label in ("AWSCURRENT", "AWSPENDING"):
            target = {"SecretId": name, "VersionStage": label, "MoveToVersionId": third, **wrong}
            assert refusal(move, **target) == (400, "InvalidParameterException")
    unknown = {"MoveToVersionId": str(uuid.uuid4()), "RemoveFromVersionId": first}
    assert refusal(move, SecretId=name, VersionStage="AWSCURRENT", **unknown)[0] == 400
    assert labels(api, name) == {"AWSCURRENT": first, "AWSPENDING": second, "mine": third}


def test_a_promoted_version_is_what_a_plain_read_gives(api: Any, name: str) -> None:
    first = labels(api, name)["AWSCURRENT"]
    second = put(api, name, "second", "AWSPENDING", "mine")
    move = {"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": second, "RemoveFromVersionId": first}
    api.update_secret_version_stage(**move)
    assert labels(api, name) == {"AWSCURRENT": second, "AWSPENDING": second, "mine": second, "AWSPREVIOUS": first}
    assert api.get_secret_value(SecretId=name)["SecretString"] == "second"
    assert refusal(api.update_secret_version_stage, **move) == (400, "InvalidParameterException")
    third = put(api, name, "third")
    assert labels(api, name) == {"AWSCURRENT": third, "AWSPENDING": second, "mine": second, "AWSPREVIOUS": second}


def test_a_token_names_one_value(api: Any, name: str) -> None:
    token = put(api, name, "second", "AWSPENDING")
    assert put(api, name, "second", "AWSPENDING", token=token) == token
    given = {"SecretId": name, "SecretString": "other", "ClientRequestToken": token, "VersionStages": ["AWSPENDING"]}
    assert refusal(api.put_secret_value, **given) == (400, "ResourceExistsException")
    api.update_secret_version_stage(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=token)
    assert refusal(api.put_secret_value, **given) == (400, "ResourceExistsException")
    answer = api.put_secret_value(**{**given, "SecretString": "second"})
    assert answer["VersionStages"] == []
    assert "AWSPENDING" not in labels(api, name)


def test_the_first_version_is_current_whatever_its_labels(api: Any) -> None:
    name = f"test/{secrets.token_hex(6)}"
    api.create_secret(Name=name)
    token = put(api, name, "first", "AWSPENDING")
    assert labels(api, name) == {"AWSPENDING": token, "AWSCURRENT": token}


def test_65536_bytes_are_the_most(api: Any, name: str) -> None:
    put(api, name, "é" * 32_768)
    for text in ("x" * 65_537, "é" * 32_769):
        assert refusal(api.put_secret_value, SecretId=name, SecretString=text) == (400, "ValidationException")
        assert refusal(api.update_secret, SecretId=name, SecretString=text) == (400, "ValidationException")
        assert refusal(api.create_secret, Name=f"{name}2", SecretString=text) == (400, "ValidationException")


def test_a_secret_scheduled_for_deletion_takes_nothing(api: Any, name: str) -> None:
    current = labels(api, name)["AWSCURRENT"]
    api.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    refused = (400, "InvalidRequestException")
    assert refusal(api.get_secret_value, SecretId=name) == refused
    assert refusal(api.put_secret_value, SecretId=name, SecretString="x") == refused
    assert refusal(api.update_secret, SecretId=name, SecretString="x") == refused
    assert refusal(api.tag_resource, SecretId=name, Tags=[{"Key": "a", "Value": "b"}]) == refused
    assert refusal(api.create_secret, Name=name, SecretString="x") == refused
    move = {"VersionStage": "mine", "MoveToVersionId": current}
    assert refusal(api.update_secret_version_stage, SecretId=name, **move) == refused
    assert "DeletedDate" in api.describe_secret(SecretId=name)
    api.restore_secret(SecretId=name)
    assert api.get_secret_value(SecretId=name)["SecretString"] == "first"


def test_rotate_secret_needs_a_lambda_and_keeps_nothing_without(api: Any, name: str) -> None:
    before = api.describe_secret(SecretId=name)
    function = "arn:aws:lambda:us-east-1:123456789012:function:missing"
    assert refusal(api.rotate_secret, SecretId=name) == (400, "InvalidRequestException")
    rules = {"AutomaticallyAfterDays": 30}
    given = {"SecretId": name, "RotationLambdaARN": function, "RotationRules": rules}
    assert refusal(api.rotate_secret, **given) == (400, "ResourceNotFoundException")
    after = api.describe_secret(SecretId=name)
    assert {key: after.get(key) for key in ("RotationEnabled", "VersionIdsToStages")} == {
        key: before.get(key) for key in ("RotationEnabled", "VersionIdsToStages")
    }


def test_a_stale_awspending_blocks_rotate_secret(api: Any, name: str) -> None:
    put(api, name, "second", "AWSPENDING")
    function = "arn:aws:lambda:us-east-1:123456789012:function:missing"
    given = {"SecretId": name, "RotationLambdaARN": function}
    assert refusal(api.rotate_secret, **given) == (400, "InvalidRequestException")


def test_batch_get_gives_what_there_is(api: Any, name: str) -> None:
    answer = api.batch_get_secret_value(SecretIdList=[name, "missing"])
    assert [value["SecretString"] for value in answer["SecretValues"]] == ["first"]
    assert [(error["SecretId"], error["ErrorCode"]) for error in answer["Errors"]] == [
        ("missing", "ResourceNotFoundException")
    ]


def test_about_a_hundred_versions_are_kept_and_the_labelled_ones_always(api: Any, name: str) -> None:
    first = labels(api, name)["AWSCURRENT"]
    api.update_secret_version_stage(SecretId=name, VersionStage="kept", MoveToVersionId=first)
    for number in range(110):
        put(api, name, str(number))
    listed = api.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
    assert len(listed) == 100
    assert api.get_secret_value(SecretId=name, VersionStage="kept")["SecretString"] == "first"


def test_twenty_labels_over_all_versions_are_the_most(api: Any, name: str) -> None:
    for number in range(19):
        put(api, name, str(number), f"label-{number}")
    assert len(labels(api, name)) == 20
    full = (400, "LimitExceededException")
    assert refusal(api.put_secret_value, SecretId=name, SecretString="x", VersionStages=["more"]) == full
    assert refusal(api.put_secret_value, SecretId=name, SecretString="x") == full  # AWSPREVIOUS would be one more
    put(api, name, "again", "label-0")


def test_a_policy_is_validated(api: Any) -> None:
    assert api.validate_resource_policy(ResourcePolicy="{}")["PolicyValidationPassed"]
    assert refusal(api.validate_resource_policy, ResourcePolicy="{") == (400, "MalformedPolicyDocumentException")


def test_a_disabled_kms_key_neither_decrypts_nor_encrypts(api: Any, url: str) -> None:
    kms, name = client("kms", url), f"test/{secrets.token_hex(6)}"
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    api.create_secret(Name=name, SecretString="x", KmsKeyId=key)
    assert api.get_secret_value(SecretId=name)["SecretString"] == "x"
    kms.disable_key(KeyId=key)
    assert refusal(api.get_secret_value, SecretId=name) == (400, "DecryptionFailure")
    assert refusal(api.put_secret_value, SecretId=name, SecretString="y") == (400, "EncryptionFailure")


def test_a_replica_follows_and_takes_no_writes(api: Any, url: str, name: str) -> None:
    answer = api.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": "eu-west-1"}])
    assert answer["ARN"].startswith("arn:aws:secretsmanager:")
    replica = client("secretsmanager", url, "eu-west-1")
    put(api, name, "second")
    assert replica.get_secret_value(SecretId=name)["SecretString"] == "second"
    assert replica.describe_secret(SecretId=name)["PrimaryRegion"] == "us-east-1"
    assert refusal(replica.put_secret_value, SecretId=name, SecretString="x") == (400, "InvalidRequestException")


def test_tags_have_limits(api: Any, name: str) -> None:
    api.tag_resource(SecretId=name, Tags=[{"Key": f"k{number}", "Value": "x" * 255} for number in range(50)])
    for key, value in (("one more", "x"), ("k0", "x" * 256), ("k0", "a;b"), ("k0", "aws:x"), ("x" * 128, "x")):
        tags = [{"Key": key, "Value": value}]
        assert refusal(api.tag_resource, SecretId=name, Tags=tags) == (400, "InvalidParameterException")
    api.tag_resource(SecretId=name, Tags=[{"Key": "k0", "Value": "changed"}])


def test_tags_that_aws_itself_has_put_there_are_not_counted(api: Any) -> None:
    name = f"test/{secrets.token_hex(6)}"
    api.create_secret(Name=name, SecretString="x", Tags=[{"Key": "aws:cloudformation:stack-name", "Value": "x"}])
    api.tag_resource(SecretId=name, Tags=[{"Key": f"k{number}", "Value": "x"} for number in range(50)])
    tags = [{"Key": "one more", "Value": "x"}]
    assert refusal(api.tag_resource, SecretId=name, Tags=tags) == (400, "InvalidParameterException")


def test_of_many_moves_from_one_version_exactly_one_succeeds(api: Any, name: str) -> None:
    first = labels(api, name)["AWSCURRENT"]
    versions = [put(api, name, str(number), "mine") for number in range(8)]
    won: list[str] = []
    ready = threading.Barrier(len(versions))

    def move(version: str) -> None:
        ready.wait()
        try:
            api.update_secret_version_stage(
                SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=first
            )
        except ClientError:
            return
        won.append(version)

    threads = [threading.Thread(target=move, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [labels(api, name)["AWSCURRENT"]]


# Faults and counts.


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (Kind.THROTTLED, (400, "ThrottlingException")),
        (Kind.FAILED, (500, "InternalServiceError")),
        (Kind.DENIED, (400, "AccessDeniedException")),
        (Kind.EXPIRED, (400, "ExpiredTokenException")),
    ],
)
def test_a_refusal_does_nothing(double: AWSDouble, api: Any, name: str, kind: Kind, answer: tuple[int, str]) -> None:
    double.inject("PutSecretValue", kind, times=2, after=1)
    put(api, name, "second")
    for _ in range(2):
        assert refusal(api.put_secret_value, SecretId=name, SecretString="third") == answer
    assert api.get_secret_value(SecretId=name)["SecretString"] == "second"
    put(api, name, "fourth")


def test_a_lost_answer_is_to_a_call_that_was_done(double: AWSDouble, api: Any, name: str) -> None:
    double.inject("PutSecretValue", Kind.LOST)
    with pytest.raises(ConnectionClosedError):
        api.put_secret_value(SecretId=name, SecretString="second")
    assert api.get_secret_value(SecretId=name)["SecretString"] == "second"


def test_other_services_fail_on_demand_too(double: AWSDouble, url: str) -> None:
    sts = client("sts", url)
    assert sts.get_caller_identity()["Account"] == "123456789012"
    double.inject("GetCallerIdentity", Kind.DENIED)
    assert refusal(sts.get_caller_identity) == (400, "AccessDeniedException")


def test_somebody_else_can_act_right_before_a_call(double: AWSDouble, api: Any, name: str) -> None:
    def act(operation: str, body: dict[str, Any]) -> None:
        if operation == "GetSecretValue":
            double.before = lambda operation, body: None
            put(api, name, "second")

    double.before = act
    assert api.get_secret_value(SecretId=name)["SecretString"] == "second"


def test_as_a_program_it_is_controlled_over_http(tmp_path: Path) -> None:
    processes, port = Processes(tmp_path), free_port()
    url = f"http://127.0.0.1:{port}"
    try:
        program = [sys.executable, "-m", "keyturn.testing.aws_double", "--port", str(port)]
        process = processes.start("aws", program)
        wait_for_http(f"{url}/_double/calls", seconds=60, process=process)
        api = client("secretsmanager", url)
        api.create_secret(Name="a", SecretString="secret text of this test")
        with httpx.Client(base_url=f"{url}/_double", trust_env=False) as control:
            assert control.get("calls").json() == {"CreateSecret": 1}
            assert control.delete("calls").json() == {}
            fault = {"operation": "*", "kind": "throttled", "times": 0}
            control.post("faults", json=fault)
            assert refusal(api.get_secret_value, SecretId="a") == (400, "ThrottlingException")
            assert refusal(api.get_secret_value, SecretId="a") == (400, "ThrottlingException")
            control.delete("faults")
            assert api.get_secret_value(SecretId="a")["SecretString"] == "secret text of this test"
            assert control.get("calls").json() == {"GetSecretValue": 3}
            assert control.post("faults", content=json.dumps({"operation": "*", "kind": "unknown"})).status_code == 400
            assert control.get("unknown").status_code == 404
            control.post("reset")
            assert refusal(api.get_secret_value, SecretId="a") == (400, "ResourceNotFoundException")
    finally:
        processes.stop()
    assert process.returncode == 0
    assert "secret text" not in (tmp_path / "aws.log").read_text()


def test_an_arn_leads_to_its_secret_and_a_partial_one_that_looks_whole_to_none(api: Any) -> None:
    """User guide, "Find a secret from a partial ARN"; API reference, CreateSecret, Name."""
    plain, odd = f"test/{secrets.token_hex(6)}", f"test/{secrets.token_hex(3)}-abc123"
    arns = {name: api.create_secret(Name=name, SecretString=name)["ARN"] for name in (plain, odd)}
    for name, given in ((plain, arns[plain]), (plain, arns[plain][:-7]), (odd, arns[odd]), (odd, odd)):
        assert api.get_secret_value(SecretId=given)["SecretString"] == name
        put(api, given, name)
    assert refusal(api.describe_secret, SecretId=arns[odd][:-7]) == (400, "ResourceNotFoundException")
    assert refusal(api.describe_secret, SecretId=arns[plain][:-1]) == (400, "ResourceNotFoundException")


def test_a_secret_is_made_once_and_again_with_the_same_token(api: Any) -> None:
    name, token = f"test/{secrets.token_hex(6)}", str(uuid.uuid4())
    given = {"Name": name, "SecretString": "first", "ClientRequestToken": token}
    for _ in range(2):
        assert api.create_secret(**given)["VersionId"] == token
    assert refusal(api.create_secret, **{**given, "SecretString": "other"}) == (400, "ResourceExistsException")
    assert refusal(api.create_secret, Name=name, SecretString="first") == (400, "ResourceExistsException")
    tags = [{"Key": "semi;colon", "Value": "x"}]
    assert refusal(api.create_secret, Name=f"{name}2", Tags=tags) == (400, "InvalidParameterException")


def test_a_secret_is_not_made_with_a_kms_key_that_cannot_be_used(url: str, api: Any) -> None:
    kms, name = client("kms", url), f"test/{secrets.token_hex(6)}"
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{key}", TargetKeyId=key)
    missing = {"Name": name, "SecretString": "x", "KmsKeyId": "alias/missing"}
    assert refusal(api.create_secret, **missing) == (400, "ResourceNotFoundException")
    api.create_secret(Name=f"{name}2", SecretString="x", KmsKeyId=f"alias/{key}")
    kms.schedule_key_deletion(KeyId=key)
    for given in (key, f"alias/{key}"):
        assert refusal(api.create_secret, Name=name, SecretString="x", KmsKeyId=given) == (400, "EncryptionFailure")
    assert refusal(api.get_secret_value, SecretId=f"{name}2") == (400, "DecryptionFailure")


def test_rotate_secret_stages_an_empty_version_and_invokes_the_function_in_four_steps(
    double: AWSDouble, api: Any, name: str
) -> None:
    """API reference, RotateSecret; user guide, "Lambda rotation functions": what the steps are given."""
    function, over, finished = "arn:aws:lambda:us-east-1:123456789012:function:ours", threading.Event(), threading.Event()
    events: list[dict[str, Any]] = []

    def handler(event: dict[str, Any], context: object) -> None:
        events.append(event)
        if event["Step"] == "testSecret" and not over.is_set():
            over.set()
            raise RuntimeError
        if event["Step"] == "finishSecret":
            finished.set()

    double.lambdas[function] = handler
    token = api.rotate_secret(SecretId=name, RotationLambdaARN=function)["VersionId"]
    assert over.wait(10)
    described = api.describe_secret(SecretId=name)
    assert [event["Step"] for event in events] == ["createSecret", "setSecret", "testSecret"]
    assert {(event["SecretId"], event["ClientRequestToken"]) for event in events} == {(described["ARN"], token)}
    assert (described["RotationEnabled"], described["RotationLambdaARN"]) == (True, function)
    assert labels(api, name)["AWSPENDING"] == token
    pending = {"SecretId": name, "VersionId": token, "VersionStage": "AWSPENDING"}
    assert refusal(api.get_secret_value, **pending) == (400, "ResourceNotFoundException")
    put(api, name, "second", "AWSPENDING", token=token)
    assert api.get_secret_value(**pending)["SecretString"] == "second"
    assert refusal(api.rotate_secret, SecretId=name) == (400, "InvalidRequestException")  # and it is tried again
    assert finished.wait(10)
    assert [event["Step"] for event in events][3:] == ["createSecret", "setSecret", "testSecret", "finishSecret"]
    assert {event["ClientRequestToken"] for event in events} == {token}


def test_the_states_of_replicas_are_those_of_the_service_model(double: AWSDouble, api: Any, name: str) -> None:
    states = api.meta.service_model.shape_for("StatusType").enum
    api.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": "eu-west-1"}])
    for state in states:
        double.show_replicas("eu-west-1", state, "words")
        (replica,) = api.describe_secret(SecretId=name)["ReplicationStatus"]
        assert (replica["Status"], replica["StatusMessage"]) == (state, "words")
    double.heal()
    assert api.describe_secret(SecretId=name)["ReplicationStatus"][0]["Status"] == "InSync"
    assert {"InSync", "Failed", "InProgress", "Pending", "Detached"} == set(states)  # what aws_replicas knows
