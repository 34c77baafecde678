"""Calls of Amazon ECS, by AWS's SDK in a thread: each once, never repeated by the SDK, and every refusal in our words.

UpdateService has no token that would make a repeat harmless, and no condition: whoever is unsure looks again first.
Codes: botocore 1.44.5. What came back is never quoted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
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
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.references import Resolver

_ABSENT = frozenset(
    {"ClusterNotFoundException", "ResourceNotFoundException", "ServiceNotActiveException", "ServiceNotFoundException"}
)
_BEGINS = "UpdateService"
_PAGES = 100

Answer = Mapping[str, Any]


class ECSCalls:
    """One client, made at the first call, and again after AWS has refused our credentials."""

    def __init__(self, settings: ECSSettings, resolve: Resolver) -> None:
        self._settings, self._resolve = settings, resolve
        self._client: Any = None
        self._making = asyncio.Lock()

    async def call(self, operation: str, **arguments: Any) -> Answer:
        """ECS's answer. LostAnswerError for an UpdateService that may have been done."""
        client = await self._current()
        answer = await asyncio.to_thread(attempt, partial(getattr(client, xform_name(operation)), **arguments))
        if code_of(answer) in NOT_A_PERMISSION and self._client is client:
            self._client = None
        if isinstance(answer, ClientError):
            raise self._refused(answer, operation)
        if isinstance(answer, Exception):
            raise self._failed(answer, operation)
        # The SDK takes any page with a 200 for an answer with nothing in it.
        if not isinstance(answer, dict) or not answer.get("ResponseMetadata", {}).get("RequestId"):
            raise not_ecs(operation)
        return answer

    async def pages(self, operation: str, name: str, **arguments: Any) -> Sequence[Any]:
        """What stands under `name` on every page."""
        found: list[Any] = []
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            answer = await self.call(operation, **arguments, **more)
            here, token = answer.get(name), answer.get("nextToken")
            if not isinstance(here, list):
                raise not_ecs(operation)
            found += here
            if not token:
                return found
            more = {"nextToken": str(token)}
        raise UnavailableError(f"AWS's answers to {operation} do not come to an end")

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    async def _current(self) -> Any:
        async with self._making:
            if self._client is None:
                texts = [(await self._resolve(reference)).reveal() for reference in self._settings.references]
                made = await asyncio.to_thread(attempt, partial(make_client, "ecs", self._settings, texts, 1))
                if isinstance(made, Exception):
                    raise self._failed(made, "any call")
                self._client = made
            return self._client

    def _refused(self, error: ClientError, operation: str) -> KeyturnError:
        code, status = code_of(error), status_of(error)
        told = f"{code if re.fullmatch('[A-Za-z0-9]{1,64}', code) else 'no code'}, HTTP {status}"
        what = f"AWS refuses {operation} in the cluster {self._settings.cluster_name} ({told})"
        if code in NOT_A_PERMISSION:
            return DeniedError(
                f"AWS does not accept keyturn's own credentials ({told})", remedy="renew what the proxies' settings name"
            )
        if code in DENIED or status in (401, 403):
            action = "sts:AssumeRole" if operation == "AssumeRole" else f"ecs:{operation}"
            return DeniedError(what, remedy=f"allow {action}: `keyturn policy aws` prints what is needed")
        if code in THROTTLED or status == 429:
            return ThrottledError(what)
        if code in {*UNAVAILABLE, "ServerException"} or status >= 500:
            return LostAnswerError(what) if operation == _BEGINS else UnavailableError(what)
        if code in _ABSENT or status == 404:
            return NotFoundError(what, remedy="check cluster, services and region, and whose account it is")
        if operation == "TagResource":
            return PermanentError(
                what,
                remedy="a service takes 50 tags, and only one whose ARN names its cluster can be tagged: remove tags, or "
                "move the service to the long ARN",
            )
        return PermanentError(what, remedy="look the code up in the ECS API reference")

    def _failed(self, error: Exception, operation: str) -> KeyturnError:
        name = type(error).__name__
        if isinstance(error, NOT_SENT):
            return UnavailableError(f"AWS cannot be reached ({name})", remedy="look at the network and at endpoint_url")
        if isinstance(error, NO_ANSWER):
            words = f"no answer of AWS to {operation} ({name})"
            return LostAnswerError(words) if operation == _BEGINS else UnavailableError(words)
        if isinstance(error, UNREADABLE):
            return not_ecs(operation)
        if isinstance(error, NO_CREDENTIALS):
            return MisconfiguredError(
                f"there are no AWS credentials to use ({name})",
                remedy="give the proxies access_key_id and secret_access_key, or a profile, or run keyturn with a role",
            )
        return MisconfiguredError(f"the AWS SDK cannot make {operation} ({name})", remedy="check the proxies' settings")


def not_ecs(operation: str) -> KeyturnError:
    """What answered is something else; where that was asked to begin something, it may have passed it on."""
    words = f"what answers to {operation} is not ECS"
    if operation == _BEGINS:
        return LostAnswerError(words)
    return UnavailableError(words, remedy="look at endpoint_url, and at proxies and login pages in between")


def aws_time(answer: Answer) -> datetime:
    """When AWS answered, by its own clock, in whole seconds. UnavailableError where it does not say."""
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    try:
        moment = parsedate_to_datetime(str(headers.get("date")))
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnavailableError("an answer of AWS has no date", remedy="look at endpoint_url, and at proxies in between")
    return moment
