"""The one place that talks to Vault (or OpenBao): logs in, sends a request, turns every refusal into an error of ours.

Built on hvac's RawAdapter, which gives the status code of every answer; hvac's own exceptions drop some of them.
Statuses as documented at https://developer.hashicorp.com/vault/api-docs#http-status-codes, and seen on OpenBao 2.7.2.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import hvac
import requests

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.http_answers import pause
from keyturn.json_object import UnreadableError, json_object
from keyturn.material import KeyMaterial
from keyturn.model import Finding
from keyturn.references import Resolver
from keyturn.vault.answer import Answer
from keyturn.vault.login import Login
from keyturn.vault.permissions import LASTS, LOGS_IN, about_login, about_static_token, stanza
from keyturn.vault.settings import ConnectionSettings, TokenAuth
from keyturn.vault.token import Token, TokenKeeper, token_in

_LOST_RACE = "check-and-set parameter did not match"  # the words of Vault and OpenBao alike; the status is a plain 400


_LARGEST_ANSWER = 8 * 1024 * 1024  # bytes; a KV value has at most one eighth of it, unless Vault is told otherwise


class VaultClient:
    """Requests to one Vault with one login. Blocking I/O runs in threads; the session is made once, on first use."""

    def __init__(self, settings: ConnectionSettings, resolve: Resolver, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._client: Any = None
        self._where = f"Vault at {settings.address}"
        self._tokens = TokenKeeper(Login(settings.auth, resolve, self._post, self._where), self._renew, clock)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: KeyMaterial | None = None,
        passing: str = "",
    ) -> Answer:
        """Send it. 200 with an object, 204, 404, and 400 for a lost check-and-set come back; all else raises.

        `token`: to be used instead of the login's own. `passing`: words of a 400 that come back, too.

        A 404 to a read says that something is not there, so it has to be in Vault's words (those to a PATCH have none).
        An expired token is refused with the same 403 as a missing permission (seen on OpenBao 2.7.2), so a 403 is
        followed by one new login, and only a second one is a DeniedError. A redirect is not followed: it would take the
        token, and what is written, wherever it points, and a write that is redirected may come back as a read.
        """
        used = token or await self._tokens.get()
        answer = await self._send(method, path, body, headers, used)
        if answer.status == 403 and token is None:
            used = await self._tokens.get(refused=used)
            answer = await self._send(method, path, body, headers, used)
        return self._judge(answer, method, path, passing)

    async def about_token(self) -> Sequence[Finding]:
        """What is known of the token that requests are sent with: see keyturn.vault.permissions.

        Logs in, where that was not done. Of a static token Vault is asked, which its policy may forbid (`default` does
        not): `read` on auth/token/lookup-self. A RetryableError comes through.
        """
        try:
            await self._tokens.get()
            if self._tokens.held is not None and not isinstance(self._settings.auth, TokenAuth):
                return [about_login(self._tokens.held)]
            return [about_static_token((await self.request("GET", "auth/token/lookup-self")).data)]
        except DeniedError as error:
            if isinstance(self._settings.auth, TokenAuth):
                return [Finding(LASTS, None, "its policy does not let it look itself up, or it is not alive")]
            return [Finding(LOGS_IN, False, error.message, error.remedy)]
        except PermanentError as error:
            return [Finding(LOGS_IN, False, error.message, error.remedy)]

    def not_vault(self) -> KeyturnError:
        return MisconfiguredError(
            f"what answers at {self._settings.address} does not speak Vault's API",
            remedy="check the address, and proxies and login pages in between",
        )

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.session.close()

    async def _post(self, path: str, body: Any, token: KeyMaterial | None = None) -> Answer:
        """For a login: a refusal comes back, since what it means depends on the method."""
        answer = await self._send("POST", path, body, token=token)
        return answer if answer.status in (400, 403, 404) else self._judge(answer, "POST", path)

    async def _renew(self, token: KeyMaterial) -> Token | None:
        answer = await self._post("auth/token/renew-self", {}, token)
        if answer.status != 200:
            return None
        try:
            renewed = token_in(answer.body)
        except UnreadableError:
            raise self.not_vault() from None
        return renewed if renewed.material == token else None

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: KeyMaterial | None = None,
    ) -> Answer:
        if self._client is None:
            self._client = self._make_client()
        # The token goes with each request, for a login must not change what requests under way are sent with.
        sent = {**(headers or {}), **({"X-Vault-Token": token.reveal()} if token else {})}
        call = functools.partial(self._client.adapter.request, method, f"/v1/{quote(path)}", headers=sent, json=body)
        seconds = self._settings.timeout.total_seconds()
        answer = await asyncio.to_thread(_attempt, call, seconds)
        if isinstance(answer, Answer):
            return answer
        where, kind = self._where, answer.__name__
        if issubclass(answer, requests.exceptions.SSLError):
            raise MisconfiguredError(
                f"the certificate of {where} is not trusted",
                remedy="name the file of its authority in ca_file, or use the address that the certificate was made for",
            )
        if issubclass(answer, ValueError):  # requests' InvalidURL and InvalidHeader among them
            raise MisconfiguredError(
                f"{where} cannot be asked ({kind})",
                remedy="check address, namespace and token for characters that do not belong there",
            )
        # Every verb of the store may be repeated, so a lost answer needs no other type than a refused connection.
        raise UnavailableError(f"{where} does not answer ({kind})", remedy="check that it runs and can be reached from here")

    def _make_client(self) -> Any:
        ca_file = self._settings.ca_file
        if ca_file is not None and not ca_file.is_file():
            raise MisconfiguredError(
                f"ca_file {ca_file} is not there", remedy="name the file of the authority that Vault uses"
            )
        session = requests.Session()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # hvac lets the `verify` of a session that it is given win over its own argument.
        session.verify = str(ca_file) if ca_file else self._settings.verify
        return hvac.Client(
            url=self._settings.address,
            token="",  # None would make hvac look for one in the environment and the home folder
            verify=session.verify,
            timeout=self._settings.timeout.total_seconds(),
            session=session,
            allow_redirects=False,
            namespace=self._settings.namespace,
            adapter=hvac.adapters.RawAdapter,
        )

    def _judge(self, answer: Answer, method: str, path: str, passing: str = "") -> Answer:
        match answer.status:
            case 204:
                return answer
            case 200 if answer.body and not answer.body.get("errors") and isinstance(answer.body.get("data"), dict | None):
                return answer
            case 404 if method not in ("GET", "LIST") or isinstance(answer.body.get("errors"), list) or answer.data:
                return answer
            case 400 if answer.complains_of(_LOST_RACE) or (passing and answer.complains_of(passing)):
                return answer
            case 404:
                raise self.not_vault()
            case status if status < 300:
                raise self.not_vault()
        raise self._error(answer, method, path)

    def _error(self, answer: Answer, method: str, path: str) -> KeyturnError:
        status, where = answer.status, self._where
        if status < 400:
            return MisconfiguredError(
                f"{where} sends us elsewhere ({status}), and keyturn does not follow",
                remedy="give the address that it points to, or for a cluster one that leads to its active node",
            )
        if status in (401, 403):
            return DeniedError(
                f"{where} refuses to {_VERBS[method][0]} {path} ({status})",
                remedy=f"the token must be alive and its policy needs: {stanza(path, _VERBS[method][1])}",
            )
        if status == 429:
            after = answer.headers.get("Retry-After")
            return ThrottledError(f"{where} limits the rate of calls (429)", retry_after=pause(after))
        if status == 503 and answer.complains_of("sealed"):
            return UnavailableError(
                f"{where} is sealed (503)", remedy="unseal it: `vault operator unseal` or `bao operator unseal`"
            )
        if status == 501:
            return UnavailableError(f"{where} is not initialised (501)", remedy="initialise and unseal it")
        # 412: a standby that has not caught up; 472, 473: one that takes no requests. "Upgrading": a KV mount just made.
        if status >= 500 or status in (412, 472, 473) or answer.complains_of("upgrading"):
            return UnavailableError(f"{where} cannot serve this now ({status})", remedy="look at its health and its log")
        return MisconfiguredError(
            f"{where} does not take the request to {_VERBS[method][0]} {path} ({status})",
            remedy="check mount and path in keyturn.yaml, and the limits set on the mount",
        )


_VERBS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "GET": ("read", ("read",)),
    "POST": ("write", ("create", "update")),
    "PATCH": ("patch", ("patch",)),
    "LIST": ("list", ("list", "sudo")),
}


def _attempt(call: Callable[..., requests.Response], seconds: float) -> Answer | type[Exception]:
    """The answer, or of what kind the error is that came instead: it may hold what was sent, or what was read."""
    try:
        return _exchange(call, seconds)
    except (ValueError, OSError) as error:
        return type(error)


def _exchange(call: Callable[..., requests.Response], seconds: float) -> Answer:
    """Send a request, and read what is answered: as a whole in that time, since the timeout of requests is for each read."""
    deadline, body = time.monotonic() + seconds, bytearray()
    with call(raise_exception=False, stream=True) as response:
        for chunk in response.iter_content(65536):
            body += chunk
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout
            if len(body) > _LARGEST_ANSWER:
                return Answer(response.status_code, {}, response.headers)
        return Answer(response.status_code, json_object(bytes(body)), response.headers)
