"""Amazon Bedrock's short-term API keys: a request that is signed ahead, with AWS credentials, and sent as a bearer token.

Nothing is asked of Bedrock to make one. The form is that of AWS's own aws-bedrock-token-generator (PyPI, 1.1.0), and a test
holds both to the same bytes. AWS refuses it after 12 hours, and after the credentials that signed it have ended.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from pydantic import model_validator

from keyturn.aws.sdk import NO_ANSWER, NO_CREDENTIALS, attempt, code_of, make_session
from keyturn.aws.settings import AWSIdentity
from keyturn.durations import Duration
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.leases.terms import LeaseSettings, Variable, held
from keyturn.material import KeyMaterial
from keyturn.model import HeldToken
from keyturn.providers.vendor import utc_now
from keyturn.references import Resolver

_HOST = "bedrock.amazonaws.com"
_LONGEST = timedelta(hours=12)
_SHORTEST = timedelta(seconds=1)

Made = tuple[str, datetime, int]
"""A token, when it was made, and for how many seconds."""


class BedrockToken:
    """A lease. The credentials are the AWS SDK's, as `AWSIdentity` says, and are looked for anew for each token: a session
    of the SDK would keep those that it once found in a file, and a role's that are about to end."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "token": (
            "nothing of Bedrock's: signed here (STS or the metadata service, where the SDK gets its credentials there)",
            "the identity needs bedrock:CallWithBearerToken, and bedrock:InvokeModel on the models",
        )
    }

    class Settings(LeaseSettings, AWSIdentity):
        """`lifetime`: of a token, 12 hours at most; it ends earlier where the credentials do."""

        env: Variable = "AWS_BEARER_TOKEN_BEDROCK"
        lifetime: Duration = _LONGEST

        @model_validator(mode="after")
        def _token_fits(self) -> BedrockToken.Settings:
            if not _SHORTEST <= self.lifetime <= _LONGEST:
                raise ValueError("lifetime must be from 1s to 12h: AWS gives no longer one")
            if self.session_token is not None and self.role_arn is None:
                raise ValueError(
                    "session_token does not say when it ends, so nobody could say when the token does: use role_arn, a "
                    "profile, or what the AWS SDK finds"
                )
            return self

    def __init__(self, settings: Settings, resolve: Resolver, now: Callable[[], datetime] = utc_now) -> None:
        self._settings, self._resolve, self._now = settings, resolve, now

    async def token(self) -> HeldToken:
        """As the port says."""
        keys = [await self._resolve(reference) for reference in self._settings.references]
        made = await asyncio.to_thread(attempt, partial(self._make, keys))
        if isinstance(made, Exception):
            raise self._failed(made) from None
        text, asked, seconds = made
        if seconds <= 0:
            raise UnavailableError(
                "the AWS credentials to sign with have ended", remedy="renew them, and see this machine's clock"
            )
        return held(KeyMaterial(text), asked, asked + timedelta(seconds=seconds), self._settings)

    async def aclose(self) -> None:
        """Nothing is kept."""

    def _make(self, keys: Sequence[KeyMaterial]) -> Made:
        """In a thread: the SDK may have to ask for its credentials."""
        source = make_session(self._settings, [key.reveal() for key in keys]).get_credentials()
        if source is None:
            raise NoCredentialsError()
        frozen = source.get_frozen_credentials()  # renews them where they are about to end
        asked = self._now()
        ends = getattr(source, "_expiry_time", None)  # the SDK has no public word for it
        if ends is None and frozen.token is not None:
            raise _EndlessError
        lives = self._settings.lifetime if ends is None else min(self._settings.lifetime, ends.astimezone(UTC) - asked)
        seconds = int(lives.total_seconds())
        return (signed(frozen, self._settings.region, seconds), asked, seconds)

    def _failed(self, failure: Exception) -> KeyturnError:
        """Nothing of the SDK's text is told: it may hold what it was given."""
        kind = type(failure).__name__
        if isinstance(failure, _EndlessError):
            return MisconfiguredError(
                "the AWS credentials are temporary and do not say when they end, so nobody could say when the token does",
                remedy="set AWS_CREDENTIAL_EXPIRATION beside AWS_SESSION_TOKEN, or use a role or a profile",
            )
        if isinstance(failure, NO_CREDENTIALS):
            return MisconfiguredError(
                f"the AWS SDK has no credentials to sign with ({kind})",
                remedy="give keyturn a role, a profile, or access_key_id and secret_access_key",
            )
        if code := code_of(failure):
            return DeniedError(f"AWS gives no credentials: {code}", remedy="see role_arn, and its trust policy")
        if isinstance(failure, NO_ANSWER):
            return UnavailableError(f"the AWS SDK cannot reach what gives it credentials ({kind})")
        return MisconfiguredError(f"no token can be signed ({kind})", remedy="see the lease's settings, and AWS's own")


class _EndlessError(ValueError):
    """Temporary credentials of which nobody knows the end."""


def signed(credentials: Any, region: str, seconds: int) -> str:
    """The token: `bedrock-api-key-`, and a URL without its scheme that is signed for so many seconds."""
    request = AWSRequest("POST", f"https://{_HOST}/", {"host": _HOST}, params={"Action": "CallWithBearerToken"})
    SigV4QueryAuth(credentials, "bedrock", region, expires=seconds).add_auth(request)
    url = str(request.url).removeprefix("https://") + "&Version=1"
    return "bedrock-api-key-" + b64encode(url.encode()).decode()
