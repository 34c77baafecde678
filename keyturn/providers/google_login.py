"""Login to Google's APIs: with an access token that somebody else renews, or with a service account's key file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pydantic import model_validator

from keyturn.errors import MisconfiguredError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import Headers, Login
from keyturn.providers.google_token import ENDPOINT, KeyFile, endpoint, grant
from keyturn.providers.logins import bearer
from keyturn.providers.token_login import Form, TokenLogin
from keyturn.providers.vendor import VendorSettings
from keyturn.references import Address, Resolver, SecretReference

SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # what both of Google's key APIs take; rights are IAM's to give


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


def google_login(settings: GoogleSettings, resolve: Resolver, now: Callable[[], datetime]) -> Login:
    """The login of a management API. DeniedError when Google gives no token for the key file."""
    reference = settings.service_account_key
    if reference is None:
        return bearer(settings.login, resolve)
    remedy = f"see whether the key in {reference} is alive, and this machine's clock right"
    api, path = endpoint(settings.token_uri, settings.timeout, remedy)

    def exchange(material: KeyMaterial) -> tuple[Headers, Form]:
        try:
            return {}, grant(KeyFile.of(material), SCOPE, now())
        except UnreadableError:
            pass
        raise MisconfiguredError(  # not inside `except`: what could not be read is a key
            f"{reference} is not a key file of a service account",
            remedy="put the JSON file there that Google gave for the account that keyturn logs in as",
        )

    return TokenLogin(api, path, exchange, reference, resolve, now)
