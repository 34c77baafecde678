"""A vendor's management API over HTTP: one call, and every refusal of it as an error of ours.

What was sent and what came back is never quoted: both may hold a key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

import httpx

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.http_answers import no_cookies, pause, read_body
from keyturn.json_object import UnreadableError, json_object

_LARGEST_ANSWER = 8 * 1024 * 1024
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
_T = TypeVar("_T")

Headers = Mapping[bytes, bytes]
Login = Callable[[], Awaitable[Headers]]
"""The headers that a call is authenticated with, read anew for each."""


@runtime_checkable
class KeptLogin(Protocol):
    """A Login that keeps something between calls."""

    async def __call__(self) -> Headers: ...

    def refused(self) -> None:
        """The vendor has answered 401: forget what was kept."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `document`: the JSON object in it, empty where it has none that can be read. `is_json`: it has one.
    `is_empty`: nothing came at all."""

    status: int
    headers: Mapping[str, str]
    document: Mapping[str, Any]
    is_json: bool
    is_empty: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class AdminApi:
    """Calls below `base_url`. `vendor`: its name, for messages. `remedy`: what to do about a 401 or 403. `direct`: past the
    proxies of the environment, for an address that only this machine has."""

    def __init__(
        self, vendor: str, base_url: str, login: Login, timeout: timedelta, remedy: str, *, direct: bool = False
    ) -> None:
        self._vendor, self._base_url, self._login = vendor, base_url, login
        self._timeout, self.remedy, self._direct = timeout, remedy, direct
        self._client: httpx.AsyncClient | None = None

    async def read(self, path: str, parse: Callable[[Mapping[str, Any]], _T], **sent: Any) -> _T:
        """GET, and what `parse` makes of the object that comes back. UnavailableError where it raises UnreadableError."""
        answer = await self.call("GET", path, **sent)
        return self.parsed(answer, f"GET {path}", parse)

    async def make(self, path: str, parse: Callable[[Mapping[str, Any]], _T], method: str = "POST", **sent: Any) -> _T:
        """A call that makes something and must not be repeated: LostAnswerError where it may have been done.

        That is so for no answer, for a 408, 409 or 5xx, and for one that cannot be read.
        """
        answer = await self.call(method, path, creating=True, **sent)
        try:
            return parse(answer.document)
        except UnreadableError:
            raise LostAnswerError(f"{self._vendor} answered a create with something that is not a key") from None

    async def call(
        self,
        method: str,
        path: str,
        *,
        creating: bool = False,
        passing: Collection[int] = (),
        may_be_empty: bool = False,
        more: Headers = MappingProxyType({}),
        **sent: Any,
    ) -> Answer:
        """Any call. Raises for every status but 2xx and those of `passing`, and for a 2xx that is no JSON object.

        `may_be_empty`: the vendor does not say that there is one. `more`: headers beside those of the login.
        """
        where = f"{method} {self._base_url}{path}"
        login = await self._login()
        answer = await self.send(method, path, {**login, **more}, **sent)
        if isinstance(answer, Answer) and answer.status == 401 and not isinstance(self._login, KeptLogin):
            # A login of ours may have been rotated between its reading and its use. What is refused has done nothing.
            anew = await self._login()
            if anew != login:
                answer = await self.send(method, path, {**anew, **more}, **sent)
        if not isinstance(answer, Answer):
            if issubclass(answer, _NOT_SENT):
                raise UnavailableError(
                    f"{self._vendor} cannot be reached for {where} ({answer.__name__})",
                    remedy="check base_url, the network and the proxy variables",
                )
            raise (LostAnswerError if creating else UnavailableError)(f"no answer to {where} ({answer.__name__})")
        if answer.status == 401 and isinstance(self._login, KeptLogin):
            self._login.refused()
        if answer.status in passing:
            return answer
        if not answer.is_success:
            raise self.refusal(answer, where, creating)
        if not answer.is_json and not creating and answer.status != 204 and not (may_be_empty and answer.is_empty):
            raise self._not_theirs(where)
        return answer

    def parsed(self, answer: Answer, where: str, parse: Callable[[Mapping[str, Any]], _T]) -> _T:
        """UnavailableError for what is not of the vendor's form."""
        try:
            return parse(answer.document)
        except UnreadableError:
            raise self._not_theirs(where) from None

    def _not_theirs(self, where: str) -> UnavailableError:
        return UnavailableError(f"the answer to {where} is not one of {self._vendor}'s", remedy="check base_url")

    def refusal(self, answer: Answer, where: str, creating: bool = False) -> KeyturnError:
        """Which error a status is."""
        status, words = answer.status, f"{self._vendor} answered {answer.status} to {where}"
        if status in (401, 403):
            return DeniedError(words, remedy=self.remedy)
        if status == 404:
            return NotFoundError(words, remedy="check the ids in this provider's settings, and base_url")
        if status == 429:
            return ThrottledError(words, retry_after=pause(answer.headers.get("retry-after")))
        if status in (408, 409) or status >= 500:
            return LostAnswerError(words) if creating else UnavailableError(words)
        if creating and status in (400, 422):
            return MisconfiguredError(words, remedy="see whether the settings, and key_lifetime, are what the vendor takes")
        return PermanentError(words, remedy="check base_url and the settings")

    async def send(self, method: str, path: str, headers: Headers, **sent: Any) -> Answer | type[httpx.HTTPError]:
        """The answer, or of what kind the error is that came instead: it may hold what was sent, or what was read."""
        try:
            # Headers as bytes, because a str that is not ASCII fails with an exception that holds it.
            async with self._http().stream(method, path, headers=dict(headers), **sent) as answer:
                body = await read_body(answer, _LARGEST_ANSWER, self._timeout.total_seconds())
                document = json_object(body)
                return Answer(
                    answer.status_code, answer.headers, document, bool(document) or body.strip() == b"{}", not body
                )
        except httpx.HTTPError as error:
            return type(error)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # Waiting for a connection of our own is no fault of the vendor's: that alone has no limit.
            timeout = httpx.Timeout(self._timeout.total_seconds(), pool=None)
            try:
                self._client = httpx.AsyncClient(
                    base_url=self._base_url, timeout=timeout, cookies=no_cookies(), trust_env=not self._direct
                )
            except (httpx.InvalidURL, ValueError, OSError, ImportError) as error:
                raise MisconfiguredError(
                    f"no client for {self._base_url} can be made ({type(error).__name__})",
                    remedy="check base_url, the proxy variables and SSL_CERT_FILE",
                ) from None
        return self._client

    async def aclose(self) -> None:
        if isinstance(self._login, KeptLogin):
            await self._login.aclose()
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def segment(id: str) -> str:
    """An id as one segment of a path, whatever characters it has. NotFoundError for one that leads up: no key has it."""
    if id in ("", ".", ".."):  # clients and gateways take them for the folder above, also when they are escaped
        raise NotFoundError("an id that is no segment of a path is no key's")
    return quote(id, safe="")
