"""The one place that talks to a Kubernetes API server: logs in, sends a request, turns every refusal into an error of ours.

Built on the official client (37.0.1): it reads kubeconfigs with their plugins, a pod's service account, proxies and
certificates. Its models stay out of it. They print what they hold, and drop what they do not know, which a later write of
the object would then delete. So are its retries: a write that is repeated unasked is a conflict with itself.

Statuses and reasons after the API conventions ("HTTP Status codes", "Response Status Kind").
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import kubernetes
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.http_answers import pause
from keyturn.json_object import UnreadableError, json_object
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.answer import Answer
from keyturn.kubernetes.settings import ConnectionSettings
from keyturn.kubernetes.stream import Stream, Tell
from keyturn.material import KeyMaterial
from keyturn.own_thread import in_own_thread
from keyturn.references import Resolver

_LARGEST_ANSWER = 16 * 1024 * 1024  # bytes; an object has at most one and a half million
_AGENT = "keyturn"
_CONFIG: Any = kubernetes.config  # without types

T = TypeVar("T")
Send = Callable[[], urllib3.BaseHTTPResponse]


class KubernetesClient:
    """Requests to one API server with one login. Blocking I/O runs in threads; the connection is made on first use."""

    def __init__(self, settings: ConnectionSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._api: kubernetes.client.ApiClient | None = None
        self._token: KeyMaterial | None = None
        self._logging_in = asyncio.Lock()
        self._asking_for_a_header = threading.Lock()  # the client's hooks are not made for several threads

    async def request(
        self, method: str, path: str, wanted: Wanted, body: Any = None, content_type: str = "application/json"
    ) -> Answer:
        """Send it. 2xx with an object, and 404 and 409 in the server's own words come back; all else raises.

        `content_type`: of a patch, which kind it is. `wanted`: what a 403 says is missing. A 401 is followed by one new
        login, and only a second one is a DeniedError. A redirect is not followed: it would take the token, and what is
        written, wherever it points.
        """
        api = await self._login(refused=None)
        answer = await self._send(api, method, path, body, content_type)
        if answer.status == 401:
            answer = await self._send(await self._login(refused=api), method, path, body, content_type)
        return self._judge(answer, wanted)

    async def watch(self, path: str, wanted: Wanted, seconds: float, tell: Tell) -> bool:
        """Follow a watch; whether `tell` said yes to an event. False: the server has ended it, or `seconds` are over.

        `path`: with the query that makes it one, and has the server end it somewhat earlier. `tell`: called in a thread with
        the type and the object of each event; what it raises comes through, UnreadableError as `not_kubernetes`. Raises as
        `request`: UnavailableError where the connection breaks, and where the server says that it has forgotten too much
        (410). Cancelled, it lets go of the connection at once.
        """
        api = await self._login(refused=None)
        outcome = await self._followed(api, path, seconds, tell)
        if isinstance(outcome, Answer) and outcome.status == 401:
            outcome = await self._followed(await self._login(refused=api), path, seconds, tell)
        if isinstance(outcome, bool):
            return outcome
        self._judge(outcome, wanted)
        raise self.not_kubernetes()  # a 404: the list of a kind that every server has is always there

    def not_kubernetes(self) -> KeyturnError:
        return MisconfiguredError(
            f"what answers at {self.where} does not speak the Kubernetes API",
            remedy="check the address, and proxies and login pages in between",
        )

    @property
    def where(self) -> str:
        """For people: which server."""
        if self._settings.server:
            return self._settings.server
        if self._settings.kubeconfig:
            return f"the server of {self._settings.kubeconfig}" + (
                f" ({self._settings.context})" if self._settings.context else ""
            )
        return "the server of this pod's cluster"

    async def aclose(self) -> None:
        if self._api is not None:
            self._api.rest_client.close()

    async def _login(self, refused: kubernetes.client.ApiClient | None) -> kubernetes.client.ApiClient:
        async with self._logging_in:  # several calls refused at once need one new login, not one each
            if self._api is None or self._api is refused:
                if self._settings.token:
                    self._token = await self._resolve(self._settings.token)
                self._api = kubernetes.client.ApiClient(await self._configuration())
            return self._api

    async def _configuration(self) -> kubernetes.client.Configuration:
        """MisconfiguredError where the way in does not lead anywhere."""
        ca_file = self._settings.ca_file
        if ca_file is not None and not ca_file.is_file():
            raise MisconfiguredError(f"ca_file {ca_file} is not there", remedy="name the file of the API server's authority")
        made = await asyncio.to_thread(self._configure)
        if isinstance(made, kubernetes.client.Configuration):
            return made
        if self._settings.kubeconfig:
            raise MisconfiguredError(
                f"{self._settings.kubeconfig} cannot be used ({made.__name__})",
                remedy="check the file, the context and what it points to: `kubectl --kubeconfig FILE get ns`",
            )
        if self._settings.server:
            raise MisconfiguredError(
                f"{self.where} cannot be asked ({made.__name__})", remedy="check server, token and ca_file"
            )
        raise MisconfiguredError(
            "keyturn runs in no pod with a service account",
            remedy="name a kubeconfig, or server and token; in a pod: automountServiceAccountToken: true",
        )

    def _configure(self) -> kubernetes.client.Configuration | type[Exception]:
        """Or of what kind the error is that came instead: it may hold what a file holds."""
        made = kubernetes.client.Configuration()
        try:
            if self._settings.server:
                made.host = self._settings.server
                made.verify_ssl = self._settings.verify
                made.ssl_ca_cert = str(self._settings.ca_file) if self._settings.ca_file else None
            elif self._settings.kubeconfig:
                _CONFIG.load_kube_config(
                    config_file=str(self._settings.kubeconfig),
                    context=self._settings.context,
                    client_configuration=made,
                    persist_config=False,
                )
            else:
                _CONFIG.load_incluster_config(client_configuration=made)
        except Exception as error:  # a file that somebody wrote, and plugins: they fail in every way there is
            return type(error)
        return made

    async def _send(self, api: kubernetes.client.ApiClient, method: str, path: str, body: Any, content_type: str) -> Answer:
        seconds = self._settings.timeout.total_seconds()
        content = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

        def attempt() -> Answer | type[Exception]:
            return self._attempt(api, method, path, content, lambda send: _exchange(send, seconds), content_type)

        answer = await asyncio.to_thread(attempt)
        return answer if isinstance(answer, Answer) else self._unreached(answer)

    async def _followed(self, api: kubernetes.client.ApiClient, path: str, seconds: float, tell: Tell) -> Answer | bool:
        patience = self._settings.timeout.total_seconds()
        stream = Stream(seconds)

        def follow(send: Send) -> Answer | bool:
            with send() as response:
                return stream.follow(response, tell) if response.status == 200 else _whole(response, patience)

        outcome: Answer | bool | type[Exception] | None = None
        try:
            outcome = await in_own_thread(
                lambda: self._attempt(api, "GET", path, None, follow), stream.stop, "keyturn-kubernetes-watch"
            )
        except UnreadableError:
            raise self.not_kubernetes() from None
        return outcome if isinstance(outcome, Answer | bool) else self._unreached(outcome)

    def _unreached(self, kind: type[Exception]) -> NoReturn:
        where, name = f"the Kubernetes API at {self.where}", kind.__name__
        if issubclass(kind, SSLError):
            raise MisconfiguredError(
                f"the certificate of {where} is not trusted",
                remedy="name the file of its authority in ca_file, or use the address that the certificate was made for",
            )
        if issubclass(kind, ValueError) and not issubclass(kind, OSError):
            raise MisconfiguredError(
                f"{where} cannot be asked ({name})", remedy="check server and token for characters that do not belong there"
            )
        # Every verb that asks may be repeated, so a lost answer needs no other type than a refused connection.
        raise UnavailableError(f"{where} does not answer ({name})", remedy="check that it runs and can be reached from here")

    def _attempt(
        self,
        api: kubernetes.client.ApiClient,
        method: str,
        path: str,
        content: bytes | None,
        exchange: Callable[[Send], T],
        content_type: str = "",
    ) -> T | type[Exception]:
        """What was read, or of what kind the error is that came instead: it may hold what was sent, or what was read."""
        try:
            headers = {"Accept": "application/json", "User-Agent": _AGENT, **self._authorization(api)}
            if content is not None:
                headers["Content-Type"] = content_type
            pool = api.rest_client.pool_manager
            return exchange(
                lambda: pool.request(
                    method,
                    api.configuration.host + path,
                    body=content,
                    headers=headers,
                    timeout=urllib3.Timeout(total=self._settings.timeout.total_seconds()),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
            )
        except (HTTPError, http.client.HTTPException, ValueError, OSError, kubernetes.config.ConfigException) as error:
            return type(error)

    def _authorization(self, api: kubernetes.client.ApiClient) -> dict[str, str]:
        """A pod's token changes every hour, and a plugin's when it says so: the client reads them anew."""
        if self._token is not None:
            return {"Authorization": f"Bearer {self._token.reveal()}"}
        with self._asking_for_a_header:
            found = api.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": found} if found else {}

    def _judge(self, answer: Answer, wanted: Wanted) -> Answer:
        match answer.status:
            case 200 | 201 if answer.body:
                return answer
            case 404 if answer.reason == "NotFound":
                return answer
            case 409 if answer.reason in ("AlreadyExists", "Conflict"):
                return answer
            case 404 | 409:
                raise self.not_kubernetes()
            case status if status < 300:
                raise self.not_kubernetes()
        raise self._error(answer, wanted)

    def _error(self, answer: Answer, wanted: Wanted) -> KeyturnError:
        status, where = answer.status, f"the Kubernetes API at {self.where}"
        if status < 400:
            return MisconfiguredError(
                f"{where} sends us elsewhere ({status}), and keyturn does not follow", remedy="give the address it points to"
            )
        if status == 401:
            return DeniedError(
                f"{where} does not take the token (401)",
                remedy="give one that has not expired: `kubectl create token NAME`, a kubeconfig that works, or in a pod "
                "its service account",
            )
        if status == 403 and answer.has_cause("NamespaceTerminating"):
            return MisconfiguredError(
                f"the namespace {wanted.namespace} is being deleted (403)", remedy="wait until it is gone, and make it anew"
            )
        if status == 403 and answer.complains_of("exceeded quota"):
            return MisconfiguredError(
                f"a quota of the namespace {wanted.namespace} forbids one more Secret (403)", remedy="raise the quota"
            )
        if status == 403:
            return DeniedError(
                f"{where} refuses to {wanted} (403)",
                remedy=f"the Role of this user in the namespace {wanted.namespace} needs the rule {wanted.rule()}",
            )
        if status == 429:
            return ThrottledError(
                f"{where} limits the rate of calls (429)", retry_after=pause(answer.headers.get("Retry-After"))
            )
        if status == 413 or answer.has_cause("FieldValueTooLong"):
            return MisconfiguredError(
                f"{where} takes no object of that size ({status})", remedy="a Secret holds 1 MiB: move other keys out of it"
            )
        if status >= 500 or status == 410:
            return UnavailableError(f"{where} cannot serve this now ({status})", remedy="look at its health and its log")
        return MisconfiguredError(
            f"{where} does not take the request to {wanted} ({status})",
            remedy="look for `immutable` in the object, and for admission policies that have a say in it",
        )


def _exchange(send: Send, seconds: float) -> Answer:
    """Send a request, and read what is answered: as a whole in that time, since the client's timeout is for each read."""
    deadline = time.monotonic() + seconds
    with send() as response:
        return _whole(response, deadline - time.monotonic())


def _whole(response: urllib3.BaseHTTPResponse, seconds: float) -> Answer:
    deadline, body = time.monotonic() + seconds, bytearray()
    for chunk in response.stream(65536, decode_content=True):
        body += chunk
        if time.monotonic() > deadline:
            raise ReadTimeoutError(None, None, "")  # type: ignore[arg-type]
        if len(body) > _LARGEST_ANSWER:
            return Answer(response.status, {}, response.headers)
    return Answer(response.status, json_object(bytes(body)), response.headers)
