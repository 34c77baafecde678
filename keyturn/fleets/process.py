"""Proxies that run as processes under `keyturn exec`: each member is rolled by asking its supervisor."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from keyturn.durations import Duration, text
from keyturn.errors import (
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    RollFailedError,
    UnavailableError,
    UndecidedError,
)
from keyturn.fleets.supervisor_answers import ON_THE_WAY, SERVING, Answer, Status
from keyturn.http_answers import no_cookies, read_body
from keyturn.json_object import UnreadableError, json_object
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import Address, Resolver, SecretReference

_ROLL_ANSWER = 120.0  # seconds: the supervisor asks its stores before it answers
_ANSWER = 10.0
_LARGEST_ANSWER = 1024 * 1024
_LAST_PORT = 65535
_WHEN_IT_ANSWERS = "run again when the provider answers: until then the old key is served"
_ALONE = Finding("members", None, "there is only one: requests are lost while it is rolled", "add a second member")

_HTTP: TypeAdapter[str] = TypeAdapter(Address)
_SOCKET = re.compile(r"unix:/[!-~]{1,106}")  # the system takes 107 bytes


def _control(value: str) -> str:
    with suppress(ValidationError):
        return value if _SOCKET.fullmatch(value) else _HTTP.validate_python(value)
    raise ValueError("must be http://HOST:PORT, without a user name or password in it, or unix:/PATH")


class MemberAddress(BaseModel):
    """`url`: the proxy itself. `control`: its supervisor, as `keyturn exec --control` was told; by default found by port."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Address
    control: Annotated[str, AfterValidator(_control)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: Any) -> Any:
        return {"url": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _can_be_found(self) -> MemberAddress:
        if self.control is None and urlsplit(self.url).port is None:
            raise ValueError("needs a port, or say where its supervisor is: {url: ..., control: ...}")
        return self


class ProcessFleet:
    """Members under `keyturn exec`. Permission needed: the control token that the supervisors were started with."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": ("GET /v1/status of each member's supervisor", "the control token"),
        "roll": ("POST /v1/roll of each member's supervisor, one after the other", "the control token"),
    }

    class Settings(BaseModel):
        """A member given as a bare URL has its supervisor at the same host, `control_port_offset` above its port.

        `roll_timeout` covers one member: its drain, its last requests, its start, and a wait for another roll of it, or for
        a sidecar's render (`keyturn exec --render-timeout`).
        `master_key` is for the canary, which calls the members.
        """

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        members: tuple[MemberAddress, ...] = Field(min_length=1)
        control_token: SecretReference = "env:KEYTURN_CONTROL_TOKEN"  # noqa: S105  # where it is, not what it is
        master_key: SecretReference
        control_port_offset: int = Field(default=100, ge=1, le=60000)
        roll_timeout: Duration = timedelta(minutes=10)
        poll_interval: Duration = timedelta(seconds=1)

        @model_validator(mode="after")
        def _members_differ(self) -> ProcessFleet.Settings:
            if len({member.url for member in self.members}) < len(self.members):
                raise ValueError("a member is listed twice")
            if any(
                member.control is None and (urlsplit(member.url).port or 0) + self.control_port_offset > _LAST_PORT
                for member in self.members
            ):
                raise ValueError(
                    "a member's port plus control_port_offset is beyond the last port (65535): choose a smaller offset, or "
                    "say where its supervisor is"
                )
            return self

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self.settings = settings
        self._resolve = resolve
        self._members = tuple(_member(each, settings.control_port_offset) for each in settings.members)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def members(self) -> Sequence[Member]:
        return self._members

    async def look(self, member: Member) -> Status:
        """What the member's supervisor, or its key ring, tells of itself. UnavailableError, DeniedError: it does not."""
        return await self._status(member)

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the program was seen ready with; None also while the member is between two versions."""
        try:
            return (await self._status(member)).serving(credential)
        except KeyturnError:
            return None

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Ask the supervisor, and wait until the member serves this version. May be repeated, and by two at once.

        Where a sidecar renders the member's keys it is asked again until the render is there, and serves on meanwhile.
        RollFailedError: it does not serve it within `roll_timeout`, its store says otherwise, or it fell back to the old
        key, which it also does where the new one does not work in it. UndecidedError: that one is not answered either.
        UnavailableError: its supervisor, or the member's store, cannot be reached, or no render came.
        """
        why = ""
        try:
            async with asyncio.timeout(self.settings.roll_timeout.total_seconds()):
                while why := await self._ask_to_roll(member, credential, version):
                    await asyncio.sleep(self.settings.poll_interval.total_seconds())
                    await self._come_to_rest(member)
        except TimeoutError:
            raise RollFailedError(
                f"{member.name} does not serve the new key of {credential} after {text(self.settings.roll_timeout)}"
                + (f" ({why})" if why else ""),
                remedy="look at its log, or raise roll_timeout",
            ) from None

    async def preflight(self, credential: str) -> Sequence[Finding]:
        found = await asyncio.gather(*(self._examine(member, credential) for member in self._members))
        return [finding for findings in found for finding in findings]

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _ask_to_roll(self, member: Member, credential: str, version: VersionRef) -> str:
        """Empty: the member serves it. Else why not yet, in its words: it is busy with something else. Ask again then."""
        wanted = {"credential": credential, "fingerprint": version.fingerprint}
        answer = await self._call(member, "POST", "/v1/roll", wanted)
        try:
            match answer.status:
                case 200 if answer.document.get("rolled") is False:
                    return ""
                case 202 if answer.state:
                    await self._rolled(member, credential, version)
                    return ""
                case 409 if answer.document.get("busy") is True:
                    return answer.words
                case 404 if answer.words:
                    raise MisconfiguredError(
                        f"{member.name} does not serve {credential}",
                        remedy="start its `keyturn exec` again with this keyturn.yaml",
                    )
                case 503 if answer.state:
                    raise UnavailableError(f"{member.name} cannot read {credential}: {answer.words}")
                case 409 if answer.document.get("undecided") is True:
                    raise UndecidedError(f"{member.name} serves on what it served: {answer.words}", remedy=_WHEN_IT_ANSWERS)
                case 400 | 409:
                    raise RollFailedError(f"{member.name} refused to roll, and serves on what it served: {answer.words}")
        except UnreadableError:
            pass
        raise _no_supervisor(member)

    async def _rolled(self, member: Member, credential: str, version: VersionRef) -> None:
        status = await self._come_to_rest(member)
        if status.serving(credential) == version:
            return
        words = f"{member.name} came back without the new key: {status.last_error}"
        if credential in status.undecided:
            raise UndecidedError(words, remedy=_WHEN_IT_ANSWERS)
        raise RollFailedError(words)

    async def _come_to_rest(self, member: Member) -> Status:
        while (status := await self._status(member)).state in ON_THE_WAY:  # noqa: ASYNC110  # another process's state
            await asyncio.sleep(self.settings.poll_interval.total_seconds())
        return status

    async def _examine(self, member: Member, credential: str) -> Sequence[Finding]:
        try:
            status = await self._status(member)
        except KeyturnError as error:
            return [Finding(f"{member.name}: supervisor", False, error.message, error.remedy)]
        state, shadowed = status.state, status.shadowed
        if state in ON_THE_WAY:
            # Another credential of these proxies is being rolled: that passes, and is no fault of anybody.
            raise UnavailableError(f"{member.name} is {state}", remedy="wait until it serves")
        serves = credential in status.versions
        return [
            Finding(f"{member.name}: supervisor", state == SERVING, f"it is {state}", "wait until it serves, or start it"),
            Finding(
                f"{member.name}: credential",
                serves,
                f"it {'serves' if serves else 'does not serve'} {credential}",
                "start its `keyturn exec` again with this keyturn.yaml",
            ),
            Finding(
                f"{member.name}: shadowing variables",
                not shadowed,
                f"set beside ours, to another value: {', '.join(shadowed)}" if shadowed else "none",
                "unset them where `keyturn exec` is started: LiteLLM may read them instead",
            ),
            await self._readiness(member),
            *([] if len(self._members) > 1 or not status.restarts else [_ALONE]),
        ]

    async def _readiness(self, member: Member) -> Finding:
        what, remedy = f"{member.name}: proxy", "is the member's url the proxy itself?"
        try:
            async with self._client("").stream("GET", f"{member.url}/health/readiness") as answer:
                status = answer.status_code
        except httpx.HTTPError as error:
            return Finding(what, False, f"{member.url} cannot be reached ({type(error).__name__})", remedy)
        return Finding(what, status == 200, f"readiness answers {status}", remedy)

    async def _status(self, member: Member) -> Status:
        answer = await self._call(member, "GET", "/v1/status")
        if answer.status != 200:
            raise UnavailableError(f"the supervisor of {member.name} answers {answer.status} when asked for its status")
        with suppress(UnreadableError):
            return Status.of(answer)
        raise _no_supervisor(member)

    async def _call(self, member: Member, method: str, path: str, body: dict[str, str] | None = None) -> Answer:
        """The JSON object that the supervisor answers."""
        token = (await self._resolve(self.settings.control_token)).reveal()
        socket, base = _way(member.control)
        seconds, answer, failure = _ANSWER if body is None else _ROLL_ANSWER, None, ""
        for is_last in (False, True):
            try:
                async with self._client(socket).stream(
                    method,
                    f"{base}{path}",
                    json=body,
                    headers={b"Authorization": f"Bearer {token}".encode()},
                    timeout=httpx.Timeout(seconds, connect=_ANSWER),
                ) as response:
                    read = await read_body(response, _LARGEST_ANSWER, seconds)
                    answer = Answer(response.status_code, json_object(read))
                break
            except httpx.HTTPError as error:
                failure = type(error).__name__
                # A kept connection that the supervisor closes just then tells nothing of it: a question is asked anew.
                if is_last or method != "GET" or not isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
                    break
        # Raised out here, so that httpx's error, which holds the token and what was read, is not its context.
        if answer is None:
            raise UnavailableError(
                f"the supervisor of {member.name} cannot be reached at {member.control} ({failure})",
                remedy="is `keyturn exec` running there, with this --control address?",
            )
        if answer.status == 401:
            raise DeniedError(
                f"the supervisor of {member.name} refuses the control token",
                remedy="give `keyturn exec` and this fleet's control_token the same token",
            )
        if not answer.document:
            raise _no_supervisor(member)
        return answer

    def _client(self, socket: str) -> httpx.AsyncClient:
        """One client for each unix socket, and one ("") for all of TCP. Proxies of the environment are for the internet."""
        if socket not in self._clients:
            transport = httpx.AsyncHTTPTransport(uds=socket or None, trust_env=False)
            self._clients[socket] = httpx.AsyncClient(
                transport=transport, timeout=_ANSWER, trust_env=False, cookies=no_cookies()
            )
        return self._clients[socket]


def _member(address: MemberAddress, offset: int) -> Member:
    url = urlsplit(address.url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    control = address.control or f"{url.scheme}://{host}:{(url.port or 0) + offset}"
    return Member(name=url.netloc + url.path, url=address.url, control=control)


def _way(control: str) -> tuple[str, str]:
    """The unix socket ("" for TCP) and the base URL of a control address."""
    return (control.removeprefix("unix:"), "http://supervisor") if control.startswith("unix:") else ("", control)


def _no_supervisor(member: Member) -> UnavailableError:
    return UnavailableError(
        f"what answers at {member.control} is no supervisor", remedy="check the member's control address"
    )
