"""IAM, by AWS's SDK in a thread: one call at a time, never repeated by the SDK, and every refusal as an error of ours.

What was sent and what came back is never quoted. Codes and statuses: IAM's API reference, and botocore 1.44.5.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from keyturn.aws.sdk import (
    DENIED,
    NO_ANSWER,
    NO_CREDENTIALS,
    NOT_A_PERMISSION,
    NOT_SENT,
    THROTTLED,
    UNAVAILABLE,
    UNREADABLE,
    attempt,
    code_of,
    make_client,
    status_of,
)
from keyturn.aws.settings import AWSLogin
from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.http_answers import pause
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.references import Resolver

_FULL = frozenset({"LimitExceeded", "LimitExceededException"})
_ABSENT = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_MOST_PAGES = 100

Answer = Mapping[str, Any]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class IamApi:
    """Calls of IAM about one user. The credentials are read anew for each call."""

    def __init__(self, settings: AWSLogin, user: str, resolve: Resolver) -> None:
        self._settings, self._user, self._resolve = settings, user, resolve
        self._client: Any = None
        self._made_with: Sequence[KeyMaterial] = ()
        self._making = asyncio.Lock()

    async def call(
        self, operation: str, given: Mapping[str, Any] = _NOTHING, *, creating: bool = False, about_user: bool = True
    ) -> Answer | None:
        """IAM's answer; None where it says that there is no such key (or user). `creating`: LostAnswerError for doubt."""
        client = await self._current(operation)
        arguments = {"UserName": self._user, **given} if about_user else dict(given)
        answer = await asyncio.to_thread(attempt, partial(getattr(client, xform_name(operation)), **arguments))
        if code_of(answer) in _ABSENT and not creating:
            return None
        if isinstance(answer, ClientError):
            raise self._refused(answer, operation, creating)
        if isinstance(answer, Exception):
            raise self._failed(answer, operation, creating)
        # The SDK takes any page with a 200 for an answer with nothing in it.
        if not isinstance(answer, dict) or not answer.get("ResponseMetadata", {}).get("RequestId"):
            raise self._not_iam(operation, creating)
        return answer

    async def make(self, operation: str, parse: Callable[[Answer], Any], given: Mapping[str, Any] = _NOTHING) -> Any:
        """A call that makes something: LostAnswerError also for what cannot be read."""
        answer = await self.call(operation, given, creating=True)
        try:
            return parse(answer or {})
        except UnreadableError:
            raise LostAnswerError("AWS answered a create with something that is not a key") from None

    async def pages(self, operation: str, name: str, given: Mapping[str, Any] = _NOTHING) -> Sequence[Mapping[str, Any]]:
        """What stands under `name` on every page. NotFoundError where the user is not there."""
        found: list[Mapping[str, Any]] = []
        more: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = await self.call(operation, {**given, **more})
            if answer is None:
                raise NotFoundError(f"AWS knows no IAM user {self._user}", remedy="check user_name, and whose account it is")
            here = answer.get(name)
            if not isinstance(here, list):
                raise self._not_iam(operation)
            found += here
            if answer.get("IsTruncated") is not True:
                return found
            more = {"Marker": str(answer.get("Marker", ""))}
        raise UnavailableError(f"AWS's answers to {operation} do not come to an end")

    async def caller(self) -> str:
        """The ARN of whom the credentials are, by STS's GetCallerIdentity, which needs no permission."""
        texts = [(await self._resolve(reference)).reveal() for reference in self._settings.references]
        login = self._settings.model_copy(update={"endpoint_url": self._settings.sts_endpoint_url})
        answer = await asyncio.to_thread(attempt, partial(_caller, login, texts))
        if isinstance(answer, ClientError):
            raise self._refused(answer, "GetCallerIdentity", False)
        if isinstance(answer, Exception):
            raise self._failed(answer, "GetCallerIdentity")
        arn = answer.get("Arn")
        if not isinstance(arn, str):
            raise self._not_iam("GetCallerIdentity")
        return arn

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    async def _current(self, operation: str) -> Any:
        async with self._making:
            keys = [await self._resolve(reference) for reference in self._settings.references]
            if self._client is None or keys != self._made_with:
                texts = [key.reveal() for key in keys]
                made = await asyncio.to_thread(attempt, partial(make_client, "iam", self._settings, texts, 1))
                if isinstance(made, Exception):
                    raise self._failed(made, operation)
                self._client, self._made_with = made, keys
            return self._client

    def _refused(self, error: ClientError, operation: str, creating: bool) -> KeyturnError:
        code, status = code_of(error), status_of(error)
        told = f"{code if re.fullmatch('[A-Za-z0-9]{1,64}', code) else 'no code'}, HTTP {status}"
        what = f"AWS refuses {operation} for the user {self._user} ({told})"
        if code in NOT_A_PERMISSION:
            return DeniedError(
                f"AWS does not accept keyturn's own credentials ({told})", remedy="renew what the provider's settings name"
            )
        if code in DENIED or status in (401, 403):
            return DeniedError(what, remedy=f"allow iam:{operation} on this user")
        if code in _FULL:
            return PermanentError(what, remedy="AWS allows two keys for a user: delete the one that is not needed")
        if code in THROTTLED or status == 429:
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            return ThrottledError(what, retry_after=pause(headers.get("retry-after")))
        if code in UNAVAILABLE or status in (408, 409) or status >= 500 or status < 400:
            return LostAnswerError(what) if creating else UnavailableError(what)
        if code in _ABSENT or status == 404:
            return NotFoundError(what, remedy="check user_name, region and endpoint_url")
        if creating:
            return MisconfiguredError(what, remedy="see whether the settings, and key_lifetime, are what IAM takes")
        return PermanentError(what, remedy="look the code up in the IAM API reference")

    def _failed(self, error: Exception, operation: str, creating: bool = False) -> KeyturnError:
        name = type(error).__name__
        if isinstance(error, NOT_SENT):
            return UnavailableError(f"AWS cannot be reached ({name})", remedy="look at the network and at endpoint_url")
        if isinstance(error, NO_ANSWER):
            words = f"no answer of AWS to {operation} ({name})"
            return LostAnswerError(words) if creating else UnavailableError(words)
        if isinstance(error, UNREADABLE):
            return self._not_iam(operation, creating)
        if isinstance(error, NO_CREDENTIALS):
            return MisconfiguredError(
                f"there are no AWS credentials to use ({name})",
                remedy="give the provider access_key_id and secret_access_key, or a profile, or run keyturn with a role",
            )
        return MisconfiguredError(f"the AWS SDK cannot make {operation} ({name})", remedy="check the provider's settings")

    def _not_iam(self, operation: str, creating: bool = False) -> KeyturnError:
        words = f"what answers to {operation} is not IAM"
        return LostAnswerError(words) if creating else UnavailableError(words, remedy="look at endpoint_url, and at proxies")


def _caller(login: AWSLogin, texts: Sequence[str]) -> Answer:
    client = make_client("sts", login, texts, 1)
    try:
        told: Answer = client.get_caller_identity()
    finally:
        client.close()
    return told


def moment(value: Any) -> datetime:
    """A time, as the SDK gives it."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise UnreadableError
    return value
