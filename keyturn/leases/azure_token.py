"""Microsoft Entra's access tokens for Azure OpenAI, sent as a bearer token in place of the account's key.

How tokens are asked for: PyPI msal 1.39.0 and azure-identity 1.27.0 (client secret, certificate, projected token, and the
metadata service of a virtual machine). The scope is a setting: recalled, and LiteLLM 1.106.2's own default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field, model_validator

from keyturn.durations import Duration
from keyturn.errors import DeniedError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.leases.azure_assertion import assertion
from keyturn.leases.terms import LeaseSettings, Variable, held
from keyturn.material import KeyMaterial
from keyturn.model import HeldToken
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.azure_login import AZURE_ID, ENTRA, by_assertion, by_secret, entra
from keyturn.providers.fields import key_text
from keyturn.providers.token_login import fetch, no_login
from keyturn.providers.vendor import utc_now
from keyturn.references import AbsolutePath, Address, Resolver, SecretReference

_METADATA = "/metadata/identity/oauth2/token"
_LONGEST = 7 * 86400  # seconds: what claims to live longer is fetched anew all the same

Given = tuple[KeyMaterial, int]
"""A token, and for how many seconds it lives; 0: that is not told."""


class AzureToken:
    """A lease. What the identity needs: the role Cognitive Services OpenAI User on the account."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "token": (
            "POST /{tenant}/oauth2/v2.0/token, or GET /metadata/identity/oauth2/token of the machine",
            "the identity needs the role Cognitive Services OpenAI User on the account",
        )
    }

    class Settings(LeaseSettings):
        """One of `client_secret`, `certificate_file`, `federated_token_file`, each with `tenant` and `client_id`; or
        `managed_identity`, where `client_id` names one of several."""

        env: Variable = "AZURE_AD_TOKEN"
        tenant: str | None = Field(default=None, pattern=AZURE_ID)
        client_id: str | None = Field(default=None, pattern=AZURE_ID)
        client_secret: SecretReference | None = None
        certificate_file: AbsolutePath | None = None
        federated_token_file: AbsolutePath | None = None
        managed_identity: bool = False
        scope: str = Field(default="https://cognitiveservices.azure.com/.default", pattern=r"^[A-Za-z0-9:/._-]+/\.default$")
        login_url: Address = ENTRA
        metadata_url: Address = "http://169.254.169.254"
        timeout: Duration = timedelta(seconds=15)

        @model_validator(mode="after")
        def _one_identity(self) -> AzureToken.Settings:
            ways = (self.client_secret, self.certificate_file, self.federated_token_file)
            if sum(way is not None for way in ways) + self.managed_identity != 1:
                raise ValueError(
                    "needs one of client_secret, certificate_file, federated_token_file and managed_identity: true"
                )
            if self.managed_identity == (self.tenant is not None) or not (self.managed_identity or self.client_id):
                raise ValueError("an application has tenant and client_id; a managed identity has no tenant")
            return self

    def __init__(self, settings: Settings, resolve: Resolver, now: Callable[[], datetime] = utc_now) -> None:
        self._settings, self._resolve, self._now = settings, resolve, now
        s = settings
        if s.managed_identity:
            remedy = "give this machine a managed identity, and name it by client_id where it has several"
            self._api = AdminApi("the metadata service", s.metadata_url, no_login, s.timeout, remedy, direct=True)
        else:
            remedy = f"see that the application {s.client_id} trusts {self._reference}, and that it has not run out"
            self._api, self._path = entra(s.login_url, s.tenant or "", s.timeout, remedy)

    async def token(self) -> HeldToken:
        """As the port says. The metadata service gives out the same one until shortly before its end."""
        asked = self._now()
        material, seconds = await (self._of_the_machine() if self._settings.managed_identity else self._of_entra(asked))
        if seconds <= 0:
            raise UnavailableError("the token that was given does not say how long it lives", remedy=self._api.remedy)
        return held(material, asked, asked + timedelta(seconds=seconds), self._settings)

    async def aclose(self) -> None:
        await self._api.aclose()

    @property
    def _reference(self) -> str:
        """What vouches for the application, in a message."""
        s = self._settings
        return s.client_secret or f"file:{s.certificate_file or s.federated_token_file}"

    async def _of_entra(self, now: datetime) -> Given:
        s, client_id = self._settings, self._settings.client_id or ""
        if s.client_secret is not None:
            shown = by_secret(client_id, s.scope)(await self._resolve(s.client_secret))
        elif s.certificate_file is not None:
            endpoint = f"{s.login_url}{self._path}"
            shown = by_assertion(client_id, s.scope)(assertion(s.certificate_file, client_id, endpoint, now))
        else:  # read anew each time: the platform replaces it
            shown = by_assertion(client_id, s.scope)(await self._resolve(self._reference))
        return await fetch(self._api, self._path, shown, self._reference)

    async def _of_the_machine(self) -> Given:
        asked = {"api-version": "2018-02-01", "resource": self._settings.scope.removesuffix("/.default")}
        if self._settings.client_id is not None:
            asked["client_id"] = self._settings.client_id
        path = f"{_METADATA}?{urlencode(asked)}"
        answer = await self._api.call("GET", path, passing=(400,), more={b"Metadata": b"true"})
        if answer.status == 400:
            raise DeniedError("the metadata service gives no token for this identity (400)", remedy=self._api.remedy)
        return self._api.parsed(answer, f"GET {_METADATA}", _given)


def _given(document: Mapping[str, Any]) -> Given:
    seconds = document.get("expires_in")  # the metadata service says it as a text
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit():
        seconds = int(seconds[:9])
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise UnreadableError
    return key_text(document.get("access_token")), min(seconds, _LONGEST)
