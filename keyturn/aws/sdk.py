"""AWS's SDK: a client of it for a service, one call, and the codes of refusals that mean the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as SDKConnectionError,
)
from botocore.parsers import ResponseParserError
from botocore.session import Session

from keyturn.aws.settings import AWSIdentity, AWSLogin

NOT_A_PERMISSION = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized"})
THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"}
)
UNAVAILABLE = frozenset({"InternalFailure", "InternalServiceError", "RequestTimeout", "ServiceUnavailable"})
NO_ANSWER = (HTTPClientError, IncompleteReadError, ResponseParserError, SDKConnectionError)
# Nothing has reached AWS: what was asked for was not done.
NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
# What the SDK's parsers raise on an answer that is not of AWS's form: it is read before it is checked.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)


def make_client(service: str, settings: AWSLogin, keys: Sequence[str], attempts: int) -> Any:
    """A client of this service. `keys`: what the settings' references lead to. `attempts`: of the SDK, at each call."""
    session, config = make_session(settings, keys, attempts), _config(settings, attempts)
    return session.create_client(service, region_name=settings.region, endpoint_url=settings.endpoint_url, config=config)


def make_session(settings: AWSIdentity, keys: Sequence[str], attempts: int = 2) -> Any:
    """A session that has the settings' credentials. Arguments as `make_client`; `attempts`: at assuming a role."""
    config = _config(settings, attempts)
    session: Any = Session(profile=settings.profile)
    if keys:
        session.set_credentials(*keys)
    if settings.role_arn is not None:
        source = session.get_credentials()
        if source is None:
            raise NoCredentialsError()
        create = partial(
            session.create_client, region_name=settings.region, endpoint_url=settings.sts_endpoint_url, config=config
        )
        session_of_ours = {"RoleSessionName": "keyturn"}
        if settings.external_id is not None:
            session_of_ours["ExternalId"] = settings.external_id
        fetcher = AssumeRoleCredentialFetcher(create, source, settings.role_arn, session_of_ours)
        # botocore has no public way to give a session credentials that renew themselves.
        session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return session


def _config(settings: AWSIdentity, attempts: int) -> Config:
    seconds = settings.timeout.total_seconds()
    return Config(
        connect_timeout=min(seconds, 5),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        user_agent_extra="keyturn",
    )


def attempt(call: partial[Any]) -> Any:
    """What the call gives, or the SDK's error as a value: whatever is raised later must not have it as its context."""
    try:
        return call()
    except (ClientError, BotoCoreError, ResponseParserError, *UNREADABLE) as error:
        return error


def code_of(answer: Any) -> str:
    """AWS's code for its refusal; "" where it is none."""
    return str(answer.response.get("Error", {}).get("Code", "")) if isinstance(answer, ClientError) else ""


def status_of(answer: ClientError) -> int:
    return int(answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
