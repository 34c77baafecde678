"""Login to Azure Resource Manager: with a token that something else keeps fresh, or as an application with a secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import Field, model_validator

from keyturn.providers.admin_api import AdminApi, Login
from keyturn.providers.logins import bearer
from keyturn.providers.token_login import Exchange, TokenLogin, in_form, no_login
from keyturn.providers.vendor import VendorSettings
from keyturn.references import Address, Resolver, SecretReference

AZURE_ID = r"^[A-Za-z0-9._-]{1,80}$"
ENTRA = "https://login.microsoftonline.com"
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class AzureSettings(VendorSettings):
    """One of the two. `access_token`: of an identity, renewed by something else and read anew for each call.
    `tenant`, `client_id` and `client_secret`: an application, for which keyturn asks for tokens itself."""

    access_token: SecretReference | None = None
    tenant: str | None = Field(default=None, pattern=AZURE_ID)
    client_id: str | None = Field(default=None, pattern=AZURE_ID)
    client_secret: SecretReference | None = None
    login_url: Address = ENTRA
    scope: str = Field(default="https://management.azure.com/.default", pattern=r"^[A-Za-z0-9:/._-]+$")

    @model_validator(mode="after")
    def _one_login(self) -> AzureSettings:
        application = (self.tenant, self.client_id, self.client_secret)
        if (self.access_token is None) == (None in application) or (self.access_token and any(application)):
            raise ValueError("needs either access_token, or tenant, client_id and client_secret")
        return self

    @property
    def identity(self) -> str:
        """What logs in, for a remedy."""
        return f"the application {self.client_id}" if self.client_id else f"the identity of {self.access_token}"


def azure_login(settings: AzureSettings, resolve: Resolver, now: Callable[[], datetime]) -> Login:
    """The headers of a call."""
    if settings.access_token is not None:
        return bearer(settings.access_token, resolve)
    remedy = f"put into {settings.client_secret} a live secret of {settings.identity}"
    api, path = entra(settings.login_url, settings.tenant or "", settings.timeout, remedy)
    exchange = by_secret(settings.client_id or "", settings.scope)
    return TokenLogin(api, path, exchange, settings.client_secret or "", resolve, now)


def entra(login_url: str, tenant: str, timeout: timedelta, remedy: str) -> tuple[AdminApi, str]:
    """Where a tenant gives tokens, and the path of that."""
    return AdminApi("Microsoft Entra", login_url, no_login, timeout, remedy), f"/{tenant}/oauth2/v2.0/token"


def by_secret(client_id: str, scope: str) -> Exchange:
    """The form of an application that shows its secret: OAuth 2.0, RFC 6749 section 4.4."""
    return in_form("client_secret", grant_type="client_credentials", client_id=client_id, scope=scope)


def by_assertion(client_id: str, scope: str) -> Exchange:
    """The form of an application for which somebody vouches with a JSON Web Token: RFC 7523 section 2.2."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
    return in_form("client_assertion", client_assertion_type=_JWT_BEARER, **form)
