"""The one place that talks to Vault (or OpenBao): logs in, sends a request, turns every refusal into an error of ours.

Built on hvac's RawAdapter, which gives the status code of every answer; hvac's own exceptions drop some of them.
Statuses as documented at https://developer.hashicorp.com/vault/api-docs#http-status-codes, and seen on OpenBao 2.7.2.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import hvac
import requests
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from keyturn.durations import Duration
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
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
    """What a request gave: 200 and 204 as they are, 404 and a lost check-and-set for the caller to judge."""

    status: int
    body: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}


_LOST_RACE = "check-and-set parameter did not match"  # the words of Vault and OpenBao alike; the status is a plain 400


class VaultClient:
    """Requests to one Vault with one login. Blocking I/O runs in threads; the session is made once, on first use."""

    def __init__(self, settings: ConnectionSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._client: Any = None
        self._token: KeyMaterial | None = None
        self._logging_in = asyncio.Lock()

    async def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send it. Answers of 2xx, 404, and 400 for a lost check-and-set come back; everything else raises.

        An expired token is refused with the same 403 as a missing permission (seen on OpenBao 2.7.2), so a 403 is
        followed by one new login, and only a second one is a DeniedError.
        """
        token = await self._login(refused=None)
        response = await self._send(method, path, body, headers, token)
        if response.status_code == 403:
            token = await self._login(refused=token)
            response = await self._send(method, path, body, headers, token)
        return self._judge(response, method, path)

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
        response = await self._send("POST", path, {"role_id": role_id.reveal(), "secret_id": secret_id.reveal()})
        if response.status_code in (400, 403, 404):
            raise DeniedError(
                f"Vault at {self._settings.address} refuses the AppRole login at {path} ({response.status_code})",
                remedy="check that role id and secret id belong together, and that the secret id has not expired or been "
                "used up; `vault write -f auth/<mount>/role/<role>/secret-id` makes a new one",
            )
        token = (self._judge(response, "POST", path).body.get("auth") or {}).get("client_token")
        if not isinstance(token, str):
            raise self._not_vault()
        return KeyMaterial(token)

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: KeyMaterial | None = None,
    ) -> requests.Response:
        if self._client is None:
            self._client = self._make_client()
        # The token goes with each request, for a login must not change what requests under way are sent with.
        sent = {**(headers or {}), **({"X-Vault-Token": token.reveal()} if token else {})}
        call = functools.partial(self._client.adapter.request, method, f"/v1/{quote(path)}", headers=sent, json=body)
        where = f"Vault at {self._settings.address}"
        try:
            response: requests.Response = await asyncio.to_thread(call, raise_exception=False)
        except requests.exceptions.SSLError:
            raise MisconfiguredError(
                f"the certificate of {where} is not trusted",
                remedy="name the file of its authority in ca_file, or use the address that the certificate was made for",
            ) from None
        except ValueError as error:  # requests' InvalidURL and InvalidHeader among them
            raise MisconfiguredError(
                f"{where} cannot be asked ({type(error).__name__})",
                remedy="check address, namespace and token for characters that do not belong there",
            ) from None
        except OSError as error:
            # Every verb of the store may be repeated, so a lost answer needs no other type than a refused connection.
            raise UnavailableError(
                f"{where} does not answer ({type(error).__name__})", remedy="check that it runs and can be reached from here"
            ) from None
        return response

    def _make_client(self) -> Any:
        ca_file = self._settings.ca_file
        if ca_file is not None and not ca_file.is_file():
            raise MisconfiguredError(
                f"ca_file {ca_file} is not there", remedy="name the file of the authority that Vault uses"
            )
        session = requests.Session()
        # hvac lets the `verify` of a session that it is given win over its own argument.
        session.verify = str(ca_file) if ca_file else self._settings.verify
        return hvac.Client(
            url=self._settings.address,
            token="",  # None would make hvac look for one in the environment and the home folder
            verify=session.verify,
            timeout=self._settings.timeout.total_seconds(),
            session=session,
            namespace=self._settings.namespace,
            adapter=hvac.adapters.RawAdapter,
        )

    def _judge(self, response: requests.Response, method: str, path: str) -> Answer:
        status, body = response.status_code, _json(response)
        if status == 200 and not body:
            raise self._not_vault()
        if status < 300 or status == 404 or (status == 400 and _sounds(response, _LOST_RACE)):
            return Answer(status, body)
        raise self._error(response, method, path)

    def _error(self, response: requests.Response, method: str, path: str) -> KeyturnError:
        status, where = response.status_code, f"Vault at {self._settings.address}"
        if status in (401, 403):
            return DeniedError(
                f"{where} refuses to {_VERBS[method][0]} {path} ({status})",
                remedy=f"the token must be alive and its policy needs: {stanza(path, _VERBS[method][1])}",
            )
        if status == 429:
            after = response.headers.get("Retry-After", "")
            return ThrottledError(
                f"{where} limits the rate of calls (429)", retry_after=float(after) if after.isdigit() else None
            )
        if status == 503 and _sounds(response, "sealed"):
            return UnavailableError(
                f"{where} is sealed (503)", remedy="unseal it: `vault operator unseal` or `bao operator unseal`"
            )
        if status == 501:
            return UnavailableError(f"{where} is not initialised (501)", remedy="initialise and unseal it")
        # 412: a standby that has not caught up; 472, 473: one that takes no requests. "Upgrading": a KV mount just made.
        if status >= 500 or status in (412, 472, 473) or _sounds(response, "upgrading"):
            return UnavailableError(f"{where} cannot serve this now ({status})", remedy="look at its health and its log")
        return MisconfiguredError(
            f"{where} does not take the request to {_VERBS[method][0]} {path} ({status})",
            remedy="check mount and path in keyturn.yaml, and the limits set on the mount",
        )

    def _not_vault(self) -> KeyturnError:
        return MisconfiguredError(
            f"what answers at {self._settings.address} does not speak Vault's API",
            remedy="check the address, and proxies and login pages in between",
        )


_VERBS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "GET": ("read", ("read",)),
    "POST": ("write", ("create", "update")),
    "PATCH": ("patch", ("patch",)),
}


def stanza(path: str, capabilities: Collection[str]) -> str:
    """The lines of a policy that grant this."""
    return f'path "{path}" {{ capabilities = [{", ".join(f"{chr(34)}{each}{chr(34)}" for each in capabilities)}] }}'


def _json(response: requests.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _sounds(response: requests.Response, words: str) -> bool:
    """Whether the server's errors hold these words. They decide, and are never quoted."""
    errors = _json(response).get("errors")
    return isinstance(errors, list) and any(words in str(error).lower() for error in errors)
