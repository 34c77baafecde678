"""The one place that talks to Vault (or OpenBao): logs in, sends a request, turns every refusal into an error of ours.

Built on hvac's RawAdapter, which gives the status code of every answer; hvac's own exceptions drop some of them.
Statuses as documented at https://developer.hashicorp.com/vault/api-docs#http-status-codes, and seen on OpenBao 2.7.2.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import hvac
import requests
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from keyturn.durations import Duration
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.http_answers import pause
from keyturn.json_object import inside, json_object
from keyturn.material import KeyMaterial
from keyturn.references import Address, Resolver, SecretReference


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Mount = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$")]


class TokenAuth(_Section):
    """A token that somebody else renews: it is read anew when it is refused."""

    method: Literal["token"]
    token: SecretReference


class AppRoleAuth(_Section):
    """Log in with a role id and a secret id, again whenever the token has run out."""

    method: Literal["approle"]
    role_id: SecretReference
    secret_id: SecretReference
    mount: Mount = "approle"


def _method(auth: Any) -> Any:
    return auth.get("method") if isinstance(auth, dict) else getattr(auth, "method", None)


# A union told apart by a function, for the words: pydantic's own would print what stands in the place of the method.
Auth = Annotated[
    Annotated[TokenAuth, Tag("token")] | Annotated[AppRoleAuth, Tag("approle")],
    Discriminator(_method, custom_error_type="method", custom_error_message="needs the method: token or approle"),
]


class ConnectionSettings(_Section):
    """How Vault is reached. `ca_file`: the authority of its certificate, where the system does not know it."""

    address: Address
    auth: Auth
    namespace: str | None = None
    ca_file: Path | None = None
    verify: bool = True
    timeout: Duration = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gave. `body`: the JSON object in it, empty where it has none that can be read."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def data(self) -> Mapping[str, Any]:
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}

    def complains_of(self, words: str) -> bool:
        """Whether the server's errors hold these words, in lower case. They decide, and are never quoted."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(isinstance(each, str) and words in each.lower() for each in errors)


_LOST_RACE = "check-and-set parameter did not match"  # the words of Vault and OpenBao alike; the status is a plain 400


_LARGEST_ANSWER = 8 * 1024 * 1024  # bytes; a KV value has at most one eighth of it, unless Vault is told otherwise


class VaultClient:
    """Requests to one Vault with one login. Blocking I/O runs in threads; the session is made once, on first use."""

    def __init__(self, settings: ConnectionSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._client: Any = None
        self._token: KeyMaterial | None = None
        self._logging_in = asyncio.Lock()

    async def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send it. 200 with an object, 204, 404, and 400 for a lost check-and-set come back; all else raises.

        A 404 to a read says that something is not there, so it has to be in Vault's words (those to a PATCH have none).
        An expired token is refused with the same 403 as a missing permission (seen on OpenBao 2.7.2), so a 403 is
        followed by one new login, and only a second one is a DeniedError. A redirect is not followed: it would take the
        token, and what is written, wherever it points, and a write that is redirected may come back as a read.
        """
        token = await self._login(refused=None)
        answer = await self._send(method, path, body, headers, token)
        if answer.status == 403:
            token = await self._login(refused=token)
            answer = await self._send(method, path, body, headers, token)
        return self._judge(answer, method, path)

    def not_vault(self) -> KeyturnError:
        return MisconfiguredError(
            f"what answers at {self._settings.address} does not speak Vault's API",
            remedy="check the address, and proxies and login pages in between",
        )

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.session.close()

    async def _login(self, refused: KeyMaterial | None) -> KeyMaterial:
        async with self._logging_in:  # several calls refused at once need one new login, not one each
            if self._token is None or self._token == refused:
                auth = self._settings.auth
                self._token = await (self._resolve(auth.token) if isinstance(auth, TokenAuth) else self._app_role(auth))
            return self._token

    async def _app_role(self, auth: AppRoleAuth) -> KeyMaterial:
        role_id, secret_id = await self._resolve(auth.role_id), await self._resolve(auth.secret_id)
        path = f"auth/{auth.mount}/login"
        answer = await self._send("POST", path, {"role_id": role_id.reveal(), "secret_id": secret_id.reveal()})
        if answer.status in (400, 403, 404):
            raise DeniedError(
                f"Vault at {self._settings.address} refuses the AppRole login at {path} ({answer.status})",
                remedy="check that role id and secret id belong together, and that the secret id has not expired or been "
                "used up; `vault write -f auth/<mount>/role/<role>/secret-id` makes a new one",
            )
        token = inside(self._judge(answer, "POST", path).body, "auth", "client_token")
        try:
            return KeyMaterial(token if isinstance(token, str) else "")
        except ValueError:
            raise self.not_vault() from None

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
        where, kind = f"Vault at {self._settings.address}", answer.__name__
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

    def _judge(self, answer: Answer, method: str, path: str) -> Answer:
        match answer.status:
            case 204:
                return answer
            case 200 if answer.body and not answer.body.get("errors") and isinstance(answer.body.get("data"), dict | None):
                return answer
            case 404 if method != "GET" or isinstance(answer.body.get("errors"), list) or answer.data:
                return answer
            case 400 if answer.complains_of(_LOST_RACE):
                return answer
            case 404:
                raise self.not_vault()
            case status if status < 300:
                raise self.not_vault()
        raise self._error(answer, method, path)

    def _error(self, answer: Answer, method: str, path: str) -> KeyturnError:
        status, where = answer.status, f"Vault at {self._settings.address}"
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
}


def stanza(path: str, capabilities: Collection[str]) -> str:
    """The lines of a policy that grant this."""
    return f'path "{path}" {{ capabilities = [{", ".join(f"{chr(34)}{each}{chr(34)}" for each in capabilities)}] }}'


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
