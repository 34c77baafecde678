"""Login to Google's APIs: with an access token that somebody else renews, or with a service account's key file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import model_validator

from keyturn.errors import DeniedError, MisconfiguredError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import Answer, Headers, Login
from keyturn.providers.fields import key_text
from keyturn.providers.google_token import ENDPOINT, KeyFile, TokenEndpoint
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.vendor import VendorSettings
from keyturn.references import Address, Resolver, SecretReference

SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # what both of Google's key APIs take; rights are IAM's to give
_EARLY = timedelta(minutes=5)  # before its end a token is not used any more


class GoogleSettings(VendorSettings):
    """One of the two. `access_token`: a token that something else keeps fresh, read anew for each call.
    `service_account_key`: a key file of a service account, by which keyturn asks for tokens itself."""

    access_token: SecretReference | None = None
    service_account_key: SecretReference | None = None
    token_uri: Address = ENDPOINT

    @model_validator(mode="after")
    def _one_login(self) -> GoogleSettings:
        if (self.access_token is None) == (self.service_account_key is None):
            raise ValueError("needs either access_token or service_account_key")
        return self

    @property
    def login(self) -> str:
        """Which reference the login comes from, for a remedy."""
        return self.access_token or self.service_account_key or ""


@dataclass(frozen=True, slots=True)
class _Token:
    of: str  # the fingerprint of the key file that it was given for: a new file is a new login
    text: KeyMaterial = field(repr=False)
    until: datetime


def google_login(settings: GoogleSettings, resolve: Resolver, now: Callable[[], datetime]) -> Login:
    """The headers of a call. DeniedError when Google gives no token for the key file."""
    if settings.access_token is not None:
        return bearer(settings.access_token, resolve)
    held: list[_Token] = []

    async def login() -> Headers:
        material = await resolve(settings.login)
        of, moment = material.fingerprint(), now()
        if not held or held[0].of != of or held[0].until <= moment:
            held[:] = [await _token(settings, material, moment)]
        return with_bearer(held[0].text)

    return login


async def _token(settings: GoogleSettings, material: KeyMaterial, now: datetime) -> _Token:
    try:
        assertion = KeyFile.of(material).assertion(SCOPE, now)
    except UnreadableError:
        assertion = ""
    if not assertion:  # not inside `except`: what could not be read is a key
        raise MisconfiguredError(
            f"{settings.login} is not a key file of a service account",
            remedy="put the JSON file there that Google gave for the account that keyturn logs in as",
        )
    endpoint = TokenEndpoint(settings.token_uri, settings.timeout)
    try:
        answer = await endpoint.ask(assertion)
    finally:
        await endpoint.api.aclose()
    where = f"POST {settings.token_uri}"
    if not isinstance(answer, Answer):
        raise UnavailableError(f"no answer to {where} ({answer.__name__})")
    if answer.status in (400, 401, 403):
        raise DeniedError(
            f"Google answered {answer.status} to {where}: no token for {settings.login}",
            remedy="see whether that key is alive, and this machine's clock right",
        )
    if not answer.is_success:
        raise endpoint.api.refusal(answer, where)
    text, seconds = endpoint.api.parsed(answer, where, _given)
    return _Token(material.fingerprint(), text, now + timedelta(seconds=seconds) - _EARLY)


def _given(document: Mapping[str, Any]) -> tuple[KeyMaterial, int]:
    seconds = document.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= 86400:
        raise UnreadableError
    return key_text(document.get("access_token")), seconds
