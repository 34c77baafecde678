"""The HTTP API of a container engine: Docker Engine's, and Podman's that is compatible with it.

Source of every path, parameter and status: Docker's Engine API reference, v1.41 to v1.51
(https://docs.docker.com/reference/api/engine/), and an engine 20.10.24, which was asked. Permission: whoever may call it
is root on the engine's machine, and reads the environment of every container. Answers hold key text: nothing of a body is
told or kept here, and no error has one as its context.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keyturn.errors import (
    ConflictError,
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from keyturn.http_answers import no_cookies, read_body
from keyturn.json_object import UnreadableError, inside, json_object, text

OLDEST, NEWEST = (1, 41), (1, 51)  # Docker Engine 20.10, Podman 4; the newest that this is written for

_ANSWER = 30.0  # seconds
_LARGEST = 16 * 1024 * 1024  # bytes
_CHANGED, _DONE_BEFORE = (200, 201, 204), 304


class RefusedError(UnavailableError):
    """The engine answered that it failed: what it was asked for was not done."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How an engine on TCP is believed, and believes us: files in PEM."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes


class Engine:
    """Calls of the API, each said in its own words when it fails. `address`: unix:/PATH, or http(s)://HOST:PORT."""

    def __init__(self, address: str, trust: Trust | None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.address = address
        self._trust, self._given = trust, transport
        self._http: httpx.AsyncClient | None = None
        self._version = ""

    async def version(self) -> str:
        """The version of the API that is spoken: the engine's newest, or ours. MisconfiguredError: it is too old."""
        answer = await self._send("its version", "GET", "/version")
        try:
            told = tuple(map(int, text(inside(json_object(answer.body), "ApiVersion")).split(".")))
        except (UnreadableError, ValueError):
            raise _no_engine(self.address) from None
        if told < OLDEST:
            raise MisconfiguredError(
                f"the engine speaks version {_dotted(told)} of the API, and {_dotted(OLDEST)} is needed",
                remedy="use Docker Engine 20.10 or later, or Podman 4 or later",
            )
        self._version = _dotted(min(told, NEWEST))
        return self._version

    async def containers(self, labels: Sequence[str]) -> list[str]:
        """The ids of all that bear these labels (`NAME` or `NAME=VALUE`), running or not."""
        asked = {"all": "true", "filters": json.dumps({"label": list(labels)})}
        answer = await self._call("its containers", "GET", "/containers/json", asked)
        found = json_object(b'{"all":' + answer.body + b"}").get("all")
        if not isinstance(found, list):
            raise _no_engine(self.address)
        try:
            return [text(inside(each, "Id")) for each in found]
        except UnreadableError:
            raise _no_engine(self.address) from None

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """All about a container, by its id or name; None: there is none. Its environment is in it."""
        answer = await self._call("a container", "GET", f"/containers/{container}/json", quiet=(404,))
        return None if answer.status == 404 else self._object(answer)

    async def image(self, name: str) -> str:
        """The id of the image that this name stands for now; "": there is none."""
        answer = await self._call("an image", "GET", f"/images/{name}/json", quiet=(404,))
        return "" if answer.status == 404 else text(self._object(answer).get("Id"))

    async def create(self, name: str, body: Mapping[str, Any]) -> None:
        """Make a container, which does not run. ConflictError: one has this name."""
        await self._call(f"to create {name}", "POST", "/containers/create", {"name": name}, body)

    async def connect(self, network: str, container: str, endpoint: Mapping[str, Any]) -> None:
        """Attach a container to one more network."""
        body = {"Container": container, "EndpointConfig": endpoint}
        await self._call("to connect a container to a network", "POST", f"/networks/{network}/connect", None, body)

    async def start(self, container: str) -> None:
        """Quiet where it runs."""
        await self._call("to start a container", "POST", f"/containers/{container}/start", seconds=120)

    async def stop(self, container: str, seconds: int) -> None:
        """SIGTERM (or the container's own signal), and SIGKILL after so many seconds. Quiet where it does not run."""
        await self._call(
            "to stop a container", "POST", f"/containers/{container}/stop", {"t": str(seconds)}, None, seconds + 60
        )

    async def restart(self, container: str, seconds: int) -> None:
        """As `stop`, and then started again by the engine, also when nobody waits for it any more."""
        path = f"/containers/{container}/restart"
        await self._call("to restart a container", "POST", path, {"t": str(seconds)}, None, seconds + 120)

    async def rename(self, container: str, name: str) -> None:
        """ConflictError: another one has that name. Quiet where it has it already, or is gone."""
        what = f"to name a container {name}"
        await self._call(what, "POST", f"/containers/{container}/rename", {"name": name}, quiet=(400, 404))

    async def remove(self, container: str) -> None:
        """Its volumes stay. Quiet where it is gone. ConflictError: it runs, or is being removed."""
        await self._call("to remove a container", "DELETE", f"/containers/{container}", quiet=(404,))

    async def read(self, container: str, path: str) -> tuple[bytes, str] | None:
        """A file of a container, in a tar archive, and what the engine tells of it (`X-Docker-Container-Path-Stat`); None:
        there is none. Not of what the container has mounted as tmpfs: the engine does not see that."""
        answer = await self._call(
            "a file of a container", "GET", f"/containers/{container}/archive", {"path": path}, quiet=(404,)
        )
        return None if answer.status == 404 else (answer.body, answer.headers.get("x-docker-container-path-stat", ""))

    async def write(self, container: str, folder: str, archive: bytes) -> None:
        """Unpack a tar archive into a folder of a container, which has to be there."""
        what = "to write a file into a container"
        await self._call(what, "PUT", f"/containers/{container}/archive", {"path": folder}, archive)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def _call(
        self,
        what: str,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        seconds: float = _ANSWER,
        quiet: Sequence[int] = (),
    ) -> _Answer:
        version = self._version or await self.version()
        answer = await self._send(what, method, f"/v{version}{path}", parameters, body, seconds)
        if answer.status in (*_CHANGED, _DONE_BEFORE, *quiet):
            return answer
        raise _refused(what, answer.status)

    async def _send(
        self,
        what: str,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        seconds: float = _ANSWER,
    ) -> _Answer:
        failure, answer = "", None
        client, base = self._client()
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/x-tar" if isinstance(body, bytes) else "application/json"}
        try:
            async with client.stream(
                method,
                base + path,
                params=parameters,
                content=content,
                headers=headers if content is not None else None,
                timeout=httpx.Timeout(seconds, connect=10),
            ) as response:
                read = await read_body(response, _LARGEST, seconds)
                answer = _Answer(response.status_code, response.headers, read)
        except (httpx.HTTPError, ssl.SSLError) as error:
            failure = type(error).__name__
        # Raised out here, so that httpx's error, which holds the request with the keys in it, is not its context.
        if answer is None:
            raise UnavailableError(
                f"the engine at {self.address} did not answer when asked for {what.removeprefix('to ')} ({failure})",
                remedy="does it run, and may keyturn use its socket?",
            )
        return answer

    def _client(self) -> tuple[httpx.AsyncClient, str]:
        socket = self.address.removeprefix("unix:") if self.address.startswith("unix:") else None
        if self._http is None:
            transport = self._given or httpx.AsyncHTTPTransport(uds=socket, trust_env=False, verify=self._verify())
            self._http = httpx.AsyncClient(transport=transport, trust_env=False, cookies=no_cookies())
        return self._http, self.address if socket is None else "http://engine"

    def _verify(self) -> ssl.SSLContext | bool:
        if self._trust is None:
            return True
        failure = ""
        try:
            context = ssl.create_default_context(cafile=self._trust.ca)
            if self._trust.certificate is not None:
                context.load_cert_chain(self._trust.certificate, self._trust.key)
            return context
        except (OSError, ValueError) as error:
            failure = type(error).__name__
        raise MisconfiguredError(
            f"a certificate for the engine cannot be read ({failure})", remedy="look at the files that `tls` names"
        )

    def _object(self, answer: _Answer) -> dict[str, Any]:
        found = json_object(answer.body)
        if not found:
            raise _no_engine(self.address)
        return found


def _refused(what: str, status: int) -> KeyturnError:
    told = f"the engine answers {status} when asked for {what.removeprefix('to ')}"
    if status in (401, 403):
        return DeniedError(told, remedy="let keyturn use the engine, or the proxy before it allow this call")
    if status == 404:
        return NotFoundError(told, remedy="was it removed meanwhile? run again")
    if status == 409:
        return ConflictError(told, remedy="somebody else works on this container: run again")
    if status == 429:
        return ThrottledError(told)
    if status >= 500:
        return RefusedError(told, remedy="look at the engine's log")
    return MisconfiguredError(told, remedy="look at the engine's log")


def _no_engine(address: str) -> UnavailableError:
    return UnavailableError(f"what answers at {address} is no container engine", remedy="check the fleet's `engine`")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
