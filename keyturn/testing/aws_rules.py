"""Secrets Manager's rules as AWS documents them, over moto's state.

moto 5.2.5 alone would pass wrong code: it promotes without comparing, moves AWSCURRENT without telling a plain
GetSecretValue, keeps a label on two versions, takes values of any size. So whatever touches versions and labels is
decided here, and moto keeps the secrets, their tags, replicas and deletion. Sources: the API reference as it stands in
botocore 1.44.5 (data/secretsmanager/2017-10-17) and the user guide's page of quotas. No AWS account was used: these are
AWS's words, not measurements of AWS.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from moto.kms.models import kms_backends
from moto.secretsmanager.models import FakeSecret, ReplicaSecret, secretsmanager_backends

ACCOUNT = "123456789012"  # whom moto takes every caller for
CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
MAX_BYTES = 65_536
MAX_VERSIONS = 100
MAX_LABELS = 20  # "Staging labels attached across all versions of a secret"
MAX_TAGS = 50  # not counting AWS's own
_TAG_TEXT = re.compile(r"[\w .:/=+@-]*")

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of Secrets Manager. `ask(operation, body)` puts a question to moto, in the caller's name."""

    operation: str
    region: str
    body: Body
    ask: Callable[[str, Body], tuple[int, Body]]

    def moto(self, operation: str = "", body: Body | None = None) -> Body:
        """moto's answer to this call, or to another one."""
        status, answer = self.ask(operation or self.operation, self.body if body is None else body)
        if status >= 400:
            raise RefusedError(str(answer.get("__type")), str(answer.get("message") or answer.get("Message")))
        return answer


Lambda = Callable[[Body, Any], object]


class RefusedError(Exception):
    """An error answer: its code, as botocore names it, and AWS's kind of message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SecretsManagerRules:
    """Answers every operation of Secrets Manager. One call at a time, so each is atomic.

    `lambdas`: by its ARN, what RotateSecret invokes. `replica_states`: region -> status and message that DescribeSecret
    shows, instead of moto's, which is in sync at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lambdas: dict[str, Lambda] = {}
        self.replica_states: dict[str, tuple[str, str]] = {}
        self._handlers: dict[str, Callable[[Call], Body]] = {
            "BatchGetSecretValue": self._batch,
            "CreateSecret": self._create,
            "DescribeSecret": self._describe,
            "GetSecretValue": self._get,
            "ListSecrets": self._list,
            "ListSecretVersionIds": self._versions,
            "PutSecretValue": self._put,
            "ReplicateSecretToRegions": self._replicate,
            "RotateSecret": self._rotate,
            "TagResource": self._tag,
            "UpdateSecret": self._update,
            "UpdateSecretVersionStage": self._move,
            "ValidateResourcePolicy": self._validate,
        }

    def answer(self, call: Call) -> tuple[int, Body]:
        """Status and body. AWS answers every refusal of this service with 400, moto some with 404."""
        with self._lock:
            try:
                return 200, self._handlers.get(call.operation, Call.moto)(_by_name(call))
            except RefusedError as refusal:
                return 400, {"__type": refusal.code, "message": str(refusal), "Message": str(refusal)}

    # Versions and labels.

    def _put(self, call: Call) -> Body:
        secret = _writable(call)
        version = _add_version(secret, call.body, call.body.get("VersionStages") or [CURRENT])
        stages = secret.versions[version]["version_stages"]
        return {"ARN": secret.arn, "Name": secret.name, "VersionId": version, "VersionStages": list(stages)}

    def _update(self, call: Call) -> Body:
        secret = _writable(call)
        answer = {"ARN": secret.arn, "Name": secret.name}
        secret.kms_key_id = call.body.get("KmsKeyId", secret.kms_key_id)
        secret.description = call.body.get("Description", secret.description)
        if "SecretString" in call.body or "SecretBinary" in call.body:
            answer["VersionId"] = _add_version(secret, call.body, [CURRENT])
        return answer

    def _move(self, call: Call) -> Body:
        secret = _writable(call)
        label, source, target = (
            call.body["VersionStage"],
            call.body.get("RemoveFromVersionId"),
            call.body.get("MoveToVersionId"),
        )
        holder = _labels(secret).get(label)
        if not 1 <= len(label) <= 256 or (source is None and target is None):
            raise RefusedError("InvalidParameterException", "Name a label, and a version to move it from or to.")
        if target is not None and target not in secret.versions:
            raise RefusedError("ResourceNotFoundException", "Secrets Manager can't find the version to move to.")
        if source is not None and source != holder:
            raise RefusedError("InvalidParameterException", "RemoveFromVersionId does not hold the staging label.")
        if source is None and holder not in (None, target):
            raise RefusedError(
                "InvalidParameterException", "RemoveFromVersionId must name the version that holds the label."
            )
        if target is None and label == CURRENT:
            raise RefusedError("InvalidParameterException", "AWSCURRENT can be moved, not removed.")
        if target is None:
            _detach(secret, label)
        else:
            _check_quota(secret, [label])
            _attach(secret, label, target)
        _prune(secret)
        return {"ARN": secret.arn, "Name": secret.name}

    def _get(self, call: Call) -> Body:
        secret = _secret(call.region, call.body["SecretId"])
        if not secret.is_deleted() and _kms_key_is_unusable(call.region, secret):
            raise RefusedError("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text.")
        return call.moto()

    def _batch(self, call: Call) -> Body:
        if not call.body.get("SecretIdList"):
            return call.moto()
        values, errors = [], []
        for name in call.body["SecretIdList"]:
            try:
                values.append(self._get(replace(call, operation="GetSecretValue", body={"SecretId": name})))
            except RefusedError as refusal:
                errors.append({"SecretId": name, "ErrorCode": refusal.code, "Message": str(refusal)})
        return {"SecretValues": values, "Errors": errors}

    def _versions(self, call: Call) -> Body:
        answer = call.moto()
        versions = [v for v in answer["Versions"] if v["VersionStages"] or call.body.get("IncludeDeprecated")]
        return {**answer, "ARN": _secret(call.region, call.body["SecretId"]).arn, "Versions": versions}

    def _describe(self, call: Call) -> Body:
        answer = _without_unlabelled(call.moto())
        for replica in answer.get("ReplicationStatus", []):
            if replica["Region"] in self.replica_states:
                replica["Status"], replica["StatusMessage"] = self.replica_states[replica["Region"]]
        return answer

    def _list(self, call: Call) -> Body:
        answer = call.moto()
        return {**answer, "SecretList": [_without_unlabelled(secret) for secret in answer["SecretList"]]}

    # The rest.

    def _create(self, call: Call) -> Body:
        _check_size(call.body)
        existing = secretsmanager_backends[ACCOUNT][call.region].secrets.get(call.body["Name"])
        if existing is not None and existing.is_deleted():
            raise RefusedError("InvalidRequestException", "A secret of this name is scheduled for deletion.")
        name = call.body.get("KmsKeyId")
        if existing is None and name and not _is_aws_own(name):
            key = _kms_key(call.region, name)
            if key is None:
                raise RefusedError("ResourceNotFoundException", "The KMS key can't be found.")
            if not key.enabled:
                raise RefusedError("EncryptionFailure", "Secrets Manager can't encrypt the secret text.")
        # AWS refuses aws:... here too; a test puts tags there in this way that CloudFormation has put there.
        _check_tags([tag for tag in call.body.get("Tags") or [] if not tag["Key"].startswith("aws:")], [])
        return call.moto()

    def _rotate(self, call: Call) -> Body:
        secret = _writable(call)
        function = call.body.get("RotationLambdaARN") or secret.rotation_lambda_arn
        if not function:
            raise RefusedError("InvalidRequestException", "No Lambda function ARN is associated with this secret.")
        labels = _labels(secret)
        if PENDING in labels and labels[PENDING] != labels.get(CURRENT):
            self._invoke(str(function), secret.arn, labels[PENDING])
            raise RefusedError(
                "InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted."
            )
        if function not in self.lambdas:
            raise RefusedError("ResourceNotFoundException", "The Lambda function can't be found.")
        token = str(call.body.get("ClientRequestToken") or uuid.uuid4())
        secret.rotation_requested = secret.rotation_enabled = True
        secret.rotation_lambda_arn = function
        secret.versions[token] = {"createdate": int(time.time()), "version_id": token, "version_stages": []}
        _attach(secret, PENDING, token)
        self._invoke(str(function), secret.arn, token)
        return {"ARN": secret.arn, "Name": secret.name, "VersionId": token}

    def _invoke(self, function: str, arn: str, token: str) -> None:
        """The four steps, one after the other, until one fails: AWS answers before they have ended."""

        def run() -> None:
            for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
                try:
                    self.lambdas[function]({"Step": step, "SecretId": arn, "ClientRequestToken": token}, None)
                except Exception:
                    return

        if function in self.lambdas:
            threading.Thread(target=run, daemon=True).start()

    def _replicate(self, call: Call) -> Body:
        return {**call.moto(), "ARN": _secret(call.region, call.body["SecretId"]).arn}

    def _tag(self, call: Call) -> Body:
        secret = _writable(call)
        _check_tags(call.body["Tags"], secret.tags or [])
        return call.moto()

    def _validate(self, call: Call) -> Body:
        try:
            json.loads(call.body["ResourcePolicy"])
        except ValueError:
            raise RefusedError("MalformedPolicyDocumentException", "The resource policy has syntax errors.") from None
        return {"PolicyValidationPassed": True, "ValidationErrors": []}


def _by_name(call: Call) -> Call:
    """The same call with the secret's name in it, where it was given an ARN.

    An ARN that ends in a hyphen and six characters is taken for a whole one, also where it is a partial one of a secret
    whose own name ends so (user guide, "Find a secret from a partial ARN").
    """
    given = call.body.get("SecretId")
    if not isinstance(given, str) or not given.startswith("arn:"):
        return call
    for secret in dict.values(secretsmanager_backends[ACCOUNT][call.region].secrets):
        whole = re.search(r"-[A-Za-z0-9]{6}$", given) is not None
        if secret.arn == given or (not whole and secret.arn[:-7] == given):
            return replace(call, body={**call.body, "SecretId": secret.name})
    raise RefusedError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")


def _secret(region: str, name: str) -> Any:
    found = secretsmanager_backends[ACCOUNT][region].secrets.get(name)
    if found is None:
        raise RefusedError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    return found


def _writable(call: Call) -> FakeSecret:
    secret: FakeSecret | ReplicaSecret = _secret(call.region, call.body["SecretId"])
    if isinstance(secret, ReplicaSecret):
        raise RefusedError("InvalidRequestException", "Operation not permitted on a replica secret.")
    if secret.is_deleted():
        raise RefusedError("InvalidRequestException", "The secret is scheduled for deletion.")
    return secret


def _check_tags(given: list[Body], there: list[Body]) -> None:
    for tag in given:
        key, value = tag["Key"], tag.get("Value", "")
        reserved = any(text.lower().startswith("aws:") for text in (key, value))
        if not 1 <= len(key) <= 127 or len(value) > 255 or reserved:
            raise RefusedError("InvalidParameterException", "A tag is too long, or starts with aws:.")
        if not _TAG_TEXT.fullmatch(key + value):
            raise RefusedError("InvalidParameterException", "A tag has characters that are not allowed.")
    keys = {tag["Key"] for tag in [*there, *given]}
    if sum(not key.startswith("aws:") for key in keys) > MAX_TAGS:
        # TagResource declares no LimitExceededException; which of its errors this is, AWS does not say.
        raise RefusedError("InvalidParameterException", "A secret can't have more than 50 tags.")


def _labels(secret: FakeSecret) -> dict[str, str]:
    return {label: name for name, version in secret.versions.items() for label in version["version_stages"]}


def _detach(secret: FakeSecret, label: str) -> None:
    for version in secret.versions.values():
        if label in version["version_stages"]:
            version["version_stages"].remove(label)


def _attach(secret: FakeSecret, label: str, target: str) -> None:
    before = _labels(secret).get(label)
    _detach(secret, label)
    secret.versions[target]["version_stages"].append(label)
    if label == CURRENT:
        secret.set_default_version_id(target)  # what moto answers to a GetSecretValue without a stage
        if before not in (None, target):
            _attach(secret, PREVIOUS, str(before))


def _has_value(version: Body) -> bool:
    return "secret_string" in version or "secret_binary" in version


def _add_version(secret: FakeSecret, body: Body, stages: list[str]) -> str:
    _check_size(body)
    names = {"SecretString": "secret_string", "SecretBinary": "secret_binary"}
    value = {names[name]: body[name] for name in names if body.get(name)}
    token = str(body.get("ClientRequestToken", ""))
    if len(value) != 1:
        raise RefusedError("InvalidParameterException", "Give either SecretString or SecretBinary.")
    if not 32 <= len(token) <= 64:
        raise RefusedError("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
    existing = secret.versions.get(token, {"version_stages": []})
    if _has_value(existing):
        if {name: existing[name] for name in names.values() if name in existing} != value:
            raise RefusedError("ResourceExistsException", "A version of this token has another value.")
        return token
    if _kms_key_is_unusable(secret.region, secret):
        raise RefusedError("EncryptionFailure", "Secrets Manager can't encrypt the secret text.")
    if not any(_has_value(version) for version in secret.versions.values()):
        stages = [*stages, CURRENT]
    _check_quota(secret, stages)
    secret.versions[token] = {**existing, "createdate": int(time.time()), "version_id": token, **value}
    for stage in dict.fromkeys(stages):
        _attach(secret, stage, token)
    _prune(secret)
    return token


def _check_size(body: Body) -> None:
    text, binary = body.get("SecretString") or "", body.get("SecretBinary") or ""
    if len(text.encode()) > MAX_BYTES or len(base64.b64decode(binary)) > MAX_BYTES:
        raise RefusedError("ValidationException", "The secret value is longer than 65536 bytes.")


def _check_quota(secret: FakeSecret, stages: list[str]) -> None:
    follower = [PREVIOUS] if CURRENT in stages and CURRENT in _labels(secret) else []
    if len({*_labels(secret), *stages, *follower}) > MAX_LABELS:
        raise RefusedError("LimitExceededException", "A secret can't have more than 20 staging labels.")


def _prune(secret: FakeSecret) -> None:
    """AWS spares versions younger than 24 hours. Here they go at once, as if the day had passed."""
    unlabelled = [name for name, version in secret.versions.items() if not version["version_stages"]]
    for name in unlabelled[: max(0, len(secret.versions) - MAX_VERSIONS)]:
        del secret.versions[name]


def _kms_key_is_unusable(region: str, secret: Any) -> bool:
    name = getattr(getattr(secret, "source", secret), "kms_key_id", None)
    if not name or _is_aws_own(name):
        return False
    key = _kms_key(region, name)
    return key is None or not key.enabled


def _is_aws_own(name: object) -> bool:
    return str(name).startswith("alias/aws/")


def _kms_key(region: str, name: object) -> Any:
    """By id, ARN or alias."""
    backend = kms_backends[ACCOUNT][region]
    alias = re.search(r"alias/.+$", str(name))
    return backend.keys.get(str(backend.get_key_id_from_alias(alias[0]) if alias else name).rpartition("/")[2])


def _without_unlabelled(secret: Body) -> Body:
    kept = {name: {v: labels for v, labels in secret[name].items() if labels} for name in _STAGE_MAPS if name in secret}
    return {**secret, **kept}


_STAGE_MAPS = ("VersionIdsToStages", "SecretVersionsToStages")
