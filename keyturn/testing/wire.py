"""A gate on the wire: every call that one process makes to the world outside passes through it, named and numbered.

It is a reverse proxy for HTTP/1.1 with one loopback port for each part of the outside. The process under test is given
its addresses instead of the real ones; a `Keeper` may hold an exchange at either side of it, end the process there, or
choose a fault. Requests are forwarded as they came, `Host` too (a signature may cover it).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, assert_never
from urllib.parse import urlsplit

from keyturn.testing.wire_faults import Blackhole, Fault, Half, Instead, Reset, Slow, Truncated
from keyturn.testing.wire_messages import NO_ANSWER, Client, Request, Upstream

# By the method, by the name of AWS's operation, or as Azure lists what is secret: by POST. Vault answers some questions by
# POST, too; but what its engines give, they make when it is read.
_READS = re.compile(
    r"(GET|HEAD|OPTIONS)\b(?! /v1/(?!sys/)\S*/creds/)|(Get|Describe|List|BatchGet)[A-Z]"
    r"|POST \S*(/list[A-Z]\w*|/sys/capabilities-self|/sys/leases/lookup)$|LIST "
)
_HANDLE = re.compile(
    r"\d+|[0-9a-f]{8,}|[0-9a-f]{8}-[0-9a-f-]{27}"  # a number, long hex, a UUID
    r"|(?P<kind>(?:[a-z]+_)+)(?=[a-zA-Z0-9]*\d)[a-zA-Z0-9]{6,}(?P<verb>:[a-z]+)?"  # key_000005a229d4, key_000005a229d4:stop
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of the process, and its answer.

    `nth` counts the exchanges of this name from 1. Calls that are made side by side have no order that is the same in each
    run, so an exchange is found again by its name and `nth`; `number` counts them all as they came.
    """

    part: str
    call: str  # method and shape of the path, or AWS's operation
    nth: int
    number: int = field(compare=False)

    @property
    def name(self) -> str:
        return f"{self.part} {self.call}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, by its method or its operation's name."""
        return _READS.match(self.call) is not None

    def __str__(self) -> str:
        return f"{self.name} #{self.nth}"


class Keeper(Protocol):
    """Who stands at the gate. All are awaited, and as long as they take the exchange is held there."""

    async def before(self, exchange: Exchange) -> Fault | None:
        """The request has arrived, and the server has not heard of it. What it gives is what becomes of it."""
        ...

    async def after(self, exchange: Exchange, status: int) -> None:
        """The server has done it and answered; the process does not know yet."""
        ...

    async def over(self, exchange: Exchange) -> None:
        """The answer, or what came in its place, is written: the process may read it now, or find its connection cut."""
        ...


class Onlooker:
    """A keeper that lets everything pass, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    async def before(self, exchange: Exchange) -> Fault | None:
        self.seen.append(exchange)
        return None

    async def after(self, exchange: Exchange, status: int) -> None:
        pass

    async def over(self, exchange: Exchange) -> None:
        pass


class Gate:
    """The gate of one process. `parts`: name -> the real address. `ports`: where a part's port must be a certain one.

    Open it before the process starts; `url(part)` is what the process is given.
    """

    def __init__(
        self, parts: Mapping[str, str], keeper: Keeper, *, host: str = "127.0.0.1", ports: Mapping[str, int] | None = None
    ) -> None:
        self._parts = {name: (urlsplit(url).hostname or "", urlsplit(url).port or 80) for name, url in parts.items()}
        self._keeper = keeper
        self._host = host
        self._ports = dict(ports or {})
        self._listening: dict[str, asyncio.Server] = {}
        self._clients: dict[Client, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: Counter[str] = Counter()
        self._closed = False

    async def __aenter__(self) -> Self:
        for part in self._parts:
            await self.accept(part)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for part in self._parts:
            self.refuse(part)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, part: str) -> str:
        return f"http://{self._host}:{self._ports[part]}"

    async def accept(self, part: str) -> None:
        """Open the part's port: at the beginning, and again after `refuse`. Nothing, once the gate is closed."""
        if part in self._listening or self._closed:
            return

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = Client(reader, writer)
            self._clients[client] = part
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await self._serve(part, client)
            except asyncio.CancelledError:
                pass  # the gate closes: nobody waits for this task but the gate
            finally:
                self._tasks.discard(task)
                del self._clients[client]
                writer.close()

        server = await asyncio.start_server(connected, self._host, self._ports.get(part, 0))
        self._ports[part] = server.sockets[0].getsockname()[1]
        self._listening[part] = server

    def refuse(self, part: str) -> None:
        """Close the part's port, as when its server has died: what is connected is reset, and what is held never arrives."""
        if (server := self._listening.pop(part, None)) is not None:
            server.close()
        for client, its_part in list(self._clients.items()):
            if its_part == part:
                client.reset()

    async def _serve(self, part: str, client: Client) -> None:
        with suppress(OSError):
            while (request := await client.request()) is not None:
                if not await self._exchange(part, client, request):
                    return

    async def _exchange(self, part: str, client: Client, request: Request) -> bool:
        """Whether the connection goes on."""
        exchange = self._named(part, request)
        fault = await self._keeper.before(exchange)
        if client.gone:
            return False
        upstream = Upstream(*self._parts[part])
        try:
            goes_on = await self._answered(exchange, client, request, fault, upstream)
            await self._keeper.over(exchange)
            if upstream.switched:
                await upstream.tunnel(client)
        finally:
            upstream.close()
        return goes_on

    async def _answered(
        self, exchange: Exchange, client: Client, request: Request, fault: Fault | None, upstream: Upstream
    ) -> bool:
        match fault:
            case None | Half() | Truncated():
                pass
            case Slow():
                await asyncio.sleep(fault.seconds)
            case Reset():
                client.reset()
                return False
            case Blackhole():
                await client.leaves()
                return False
            case Instead():
                if not fault.done:
                    return await client.answer(fault.answer)
            case _:
                assert_never(fault)
        try:
            answer = await upstream.ask(request)
        except NO_ANSWER:
            client.reset()
            return False
        await self._keeper.after(exchange, answer.status)
        match fault:
            case Half():
                client.reset()
                return False
            case Truncated():
                await client.truncated(answer)
                return False
            case Instead():
                return await client.answer(fault.answer)
        if upstream.switched:
            await client.switch(answer)
            return False
        return await client.answer(answer)

    def _named(self, part: str, request: Request) -> Exchange:
        call = request.aws_operation or f"{request.method} {shape(request.path)}"
        name = f"{part} {call}"
        self._counts[name] += 1
        return Exchange(part, call, self._counts[name], self._counts.total())


def shape(path: str) -> str:
    """The path without what differs from run to run: numbers, long hex, UUIDs, and handles such as `key_000005a229d4`."""
    return "/".join(_shape(segment) for segment in path.split("/"))


def _shape(segment: str) -> str:
    match = _HANDLE.fullmatch(segment)
    return f"{match['kind'] or ''}*{match['verb'] or ''}" if match else segment
