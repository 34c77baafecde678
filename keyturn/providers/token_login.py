"""Logging in by a token: a long-lived credential is exchanged for one that ends soon, and that carries the calls.

The token is kept in memory until shortly before its end. It is forgotten when the vendor refuses it, and when the reference
leads to another credential: a rotated credential of ours counts from the next call on. Nothing of it is written or logged.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from keyturn.errors import DeniedError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import AdminApi, Headers
from keyturn.providers.fields import key_text
from keyturn.providers.logins import with_bearer
from keyturn.references import Resolver

_BEFORE_ITS_END = timedelta(seconds=60)
_LONGEST = 7 * 86400  # seconds: what claims to live longer is fetched anew all the same
_NOTHING: Headers = MappingProxyType({})

Form = Mapping[str, str]
Exchange = Callable[[KeyMaterial], tuple[Headers, Form]]
"""How a credential is shown to the token endpoint: headers, and the fields of a form."""


def client_credentials(client_id: str, **fields: str) -> Exchange:
    """OAuth 2.0, RFC 6749 section 4.4: the id and the secret as HTTP Basic. `fields`: what else is in the form."""
    return lambda secret: (with_basic(client_id, secret), {"grant_type": "client_credentials", **fields})


def in_form(field: str, **fields: str) -> Exchange:
    """The credential as a field of the form."""
    return lambda secret: (_NOTHING, {**fields, field: secret.reveal()})


def with_basic(user: str, secret: KeyMaterial) -> Headers:
    return {b"Authorization": b"Basic " + b64encode(f"{user}:{secret.reveal()}".encode())}


async def no_login() -> Headers:
    """The Login of a token endpoint: each call to it shows its own."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class _Token:
    material: KeyMaterial
    of: str  # the credential's fingerprint
    until: datetime


class TokenLogin:
    """A Login. `api`: of the token endpoint, with `no_login`; its remedy is told for a refused credential. `more`: headers
    that every call bears beside the token."""

    def __init__(
        self,
        api: AdminApi,
        path: str,
        exchange: Exchange,
        reference: str,
        resolve: Resolver,
        now: Callable[[], datetime],
        more: Headers = _NOTHING,
    ) -> None:
        self._api, self._path, self._exchange = api, path, exchange
        self._reference, self._resolve, self._now, self._more = reference, resolve, now, more
        self._token: _Token | None = None

    async def __call__(self) -> Headers:
        """DeniedError where the credential is refused. What fails here, fails before the call: nothing was asked for."""
        credential = await self._resolve(self._reference)
        token = self._token
        if token is None or token.of != credential.fingerprint() or self._now() >= token.until:
            token = self._token = await self._fetch(credential)
        return {**with_bearer(token.material), **self._more}

    def refused(self) -> None:
        self._token = None

    async def aclose(self) -> None:
        self._token = None
        await self._api.aclose()

    async def _fetch(self, credential: KeyMaterial) -> _Token:
        asked = self._now()
        material, seconds = await fetch(self._api, self._path, self._exchange(credential), self._reference)
        return _Token(material, credential.fingerprint(), asked + timedelta(seconds=seconds) - _BEFORE_ITS_END)


async def fetch(api: AdminApi, path: str, shown: tuple[Headers, Form], reference: str) -> tuple[KeyMaterial, int]:
    """A token, and for how many seconds it lives from now on; 0 where that is not told.

    `shown`: what an Exchange made of the credential, which `reference` names in messages. DeniedError: it is refused.
    """
    headers, form = shown
    answer = await api.call("POST", path, passing=(400,), more=headers, data=dict(form))
    if answer.status == 400:  # RFC 6749 section 5.2: most refusals are a 400
        raise DeniedError(f"no token is given for {reference} (400)", remedy=api.remedy)
    return api.parsed(answer, f"POST {path}", _token)


def _token(document: Mapping[str, Any]) -> tuple[KeyMaterial, int]:
    """The token, and for how many seconds it lives: for none, where that is not said, so that it serves one call."""
    kind, seconds = document.get("token_type"), document.get("expires_in")
    if isinstance(kind, str) and kind.lower() != "bearer":
        raise UnreadableError
    lives = seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else 0
    return key_text(document.get("access_token")), max(0, min(lives, _LONGEST))


__all__ = ["Exchange", "TokenLogin", "client_credentials", "fetch", "in_form", "no_login", "with_basic"]
