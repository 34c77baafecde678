"""Calls of AWS Secrets Manager: whose credentials, how long, and what a refusal means in our words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from functools import partial
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from keyturn.aws.sdk import (
    DENIED,
    NO_ANSWER,
    NO_CREDENTIALS,
    NOT_A_PERMISSION,
    THROTTLED,
    UNAVAILABLE,
    UNREADABLE,
    attempt,
    code_of,
    make_client,
    status_of,
)
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
from keyturn.model import SecretRef
from keyturn.references import Resolver
from keyturn.stores.aws_answers import is_of_aws
from keyturn.stores.aws_settings import AWSSettings

_ATTEMPTS = 3  # by botocore itself: every call of ours may be repeated, writes are known by their token or compare


class SecretsManagerClient:
    """One client, made at the first call, and again after AWS has refused our credentials (they may have been rotated)."""

    def __init__(self, settings: AWSSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._client: Any = None
        self._making = asyncio.Lock()

    async def call(
        self, operation: str, secret: SecretRef, unless: Collection[str] = (), **arguments: Any
    ) -> dict[str, Any] | None:
        """AWS's answer; None where it refuses with one of the codes in `unless`."""
        name = {"Name" if operation == "CreateSecret" else "SecretId": secret.path}
        async with self._making:
            if self._client is None:
                keys = [await self._resolve(reference) for reference in self._settings.references]
                made = await asyncio.to_thread(
                    attempt,
                    partial(make_client, "secretsmanager", self._settings, [key.reveal() for key in keys], _ATTEMPTS),
                )
                self._client = _result(made, operation, secret)
        client = self._client
        answer = await asyncio.to_thread(attempt, partial(getattr(client, xform_name(operation)), **name, **arguments))
        code = code_of(answer)
        if code in unless:
            return None
        if code in NOT_A_PERMISSION and self._client is client:
            self._client = None
        result: dict[str, Any] = _result(answer, operation, secret)
        if not is_of_aws(operation, result):
            raise _not_aws(operation, secret)
        return result

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)


def _result(answer: Any, operation: str, secret: SecretRef) -> Any:
    if isinstance(answer, ClientError):
        raise _refused(answer, secret)
    if isinstance(answer, Exception):
        raise _failed(answer, operation, secret)
    return answer


def _failed(error: Exception, operation: str, secret: SecretRef) -> KeyturnError:
    """The SDK did not get an answer."""
    name = type(error).__name__
    if isinstance(error, UNREADABLE):
        return _not_aws(operation, secret)
    if isinstance(error, NO_ANSWER):
        return UnavailableError(
            f"{secret}: no answer from AWS to {operation} ({name})", remedy="look at the network and at endpoint_url"
        )
    if isinstance(error, NO_CREDENTIALS):
        return MisconfiguredError(
            f"{secret}: there are no AWS credentials to use ({name})",
            remedy="give the store access_key_id and secret_access_key, or a profile, or run keyturn with a role",
        )
    return MisconfiguredError(f"{secret}: the AWS SDK cannot make {operation} ({name})", remedy="check the store's settings")


def _not_aws(operation: str, secret: SecretRef) -> KeyturnError:
    return UnavailableError(
        f"{secret}: what answers to {operation} is not Secrets Manager",
        remedy="look at endpoint_url, and at proxies and login pages in between",
    )


def _refused(error: ClientError, secret: SecretRef) -> KeyturnError:
    """AWS answered, and said no. Its code and status are told; its message is not."""
    operation, code = error.operation_name, code_of(error)
    status = status_of(error)
    said = f"{code if re.fullmatch('[A-Za-z0-9]{1,64}', code) else 'no code'}, HTTP {status}"
    what = f"{secret}: AWS refuses {operation} ({said})"
    action = f"{'sts' if operation == 'AssumeRole' else 'secretsmanager'}:{operation}"
    if code in NOT_A_PERMISSION:
        return DeniedError(
            f"{secret}: AWS does not accept keyturn's own credentials ({said})",
            remedy="renew what the store's settings name",
        )
    if code in DENIED or status in (401, 403):
        return DeniedError(
            what, remedy=f"allow {action} on this secret, and kms:Decrypt and kms:GenerateDataKey on a key of its own"
        )
    if code in THROTTLED or status == 429:
        return ThrottledError(f"{secret}: AWS asks to call {operation} less often ({said})")
    if code in UNAVAILABLE or status >= 500:
        return UnavailableError(f"{secret}: AWS failed at {operation} ({said})")
    if operation == "CreateSecret" and code in ("InvalidParameterException", "ResourceNotFoundException"):
        return PermanentError(what, remedy="check the secret's name, and kms_key_id, tags and replicas of the store")
    if code == "ResourceNotFoundException":
        remedy = "check name, region and account, or create it with the key in use"
        if secret.path.startswith("arn:"):
            remedy += "; where its name ends in a hyphen and six characters AWS wants the whole ARN"
        return NotFoundError(f"{secret} is not there ({said})", remedy=remedy)
    if code == "InvalidRequestException":
        return PermanentError(
            what,
            remedy="the secret is scheduled for deletion (aws secretsmanager restore-secret), is a replica, or is managed "
            "by another AWS service",
        )
    if code in ("DecryptionFailure", "EncryptionFailure") or code.startswith("KMS"):
        return PermanentError(
            what, remedy="enable the secret's KMS key, and allow kms:Decrypt and kms:GenerateDataKey on it"
        )
    if operation == "TagResource" and code in ("InvalidParameterException", "LimitExceededException"):
        # Which of the two AWS answers to a 51st tag is not documented; of them the API reference declares only the first.
        return PermanentError(
            what, remedy="AWS allows 50 tags for a secret, and keyturn's notes need some: remove tags, or split the bundle"
        )
    if code == "LimitExceededException":
        return PermanentError(
            what,
            remedy="the secret has all the staging labels (20) or versions (about 100 in 24 hours) AWS allows: let overlaps "
            "end, wait, or split the bundle",
        )
    if code == "ResourceExistsException":
        return ConflictError(f"{secret}: this token was used for another value", remedy="stage under a new token")
    return PermanentError(what, remedy="look the code up in the Secrets Manager API reference")
