"""HTTP/1.1 messages on a stream, whole: read a request, ask the real server, write the answer. Nothing in them is changed.

Bodies are held in memory, requests and answers both: fit for APIs, not for streams.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import h11

_CHUNK = 65536
_FRAMING = (b"content-length", b"transfer-encoding")

Header = tuple[bytes, bytes]
NO_ANSWER = (OSError, h11.RemoteProtocolError, asyncio.IncompleteReadError)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Its text may hold keys: it is never shown."""

    method: str
    target: str
    headers: Sequence[Header] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for each, value in self.headers if each.lower() == name), "")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def aws_operation(self) -> str:
        """The operation, in AWS's JSON protocol (a header) or its query protocol (a form); "" for any other request."""
        if target := self.header(b"x-amz-target"):
            return target.rpartition(".")[2]
        form = self.header(b"content-type").startswith("application/x-www-form-urlencoded")
        actions = parse_qs(self.body.decode("latin-1")).get("Action", []) if form else []
        return actions[0] if actions else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    headers: Sequence[Header] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    reason: bytes = b""


class Client:
    """The connection of the one who asks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._state = h11.Connection(h11.SERVER)

    @property
    def gone(self) -> bool:
        """Cut by us. (That the other end has left shows only when it is written to.)"""
        return self.writer.transport.is_closing()

    async def request(self) -> Request | None:
        """The next one; None when there is none any more, or what came is not HTTP."""
        with suppress(OSError, h11.RemoteProtocolError):
            head = await self._next()
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while not isinstance(event := await self._next(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return None
                body += event.data
            return Request(head.method.decode(), head.target.decode("latin-1"), head.headers.raw_items(), bytes(body))
        return None

    async def answer(self, answer: Answer) -> bool:
        """Write it; whether another request may follow."""
        parts = [h11.Response(status_code=answer.status, headers=list(answer.headers), reason=answer.reason)]
        events: list[h11.Event] = [*parts, *([h11.Data(data=answer.body)] if answer.body else []), h11.EndOfMessage()]
        with suppress(OSError, h11.LocalProtocolError):
            self.writer.write(b"".join(self._state.send(event) or b"" for event in events))
            await self.writer.drain()
            if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
                self._state.start_next_cycle()
                return not self.gone
        return False

    async def switch(self, answer: Answer) -> None:
        """The answer 101: what follows is no HTTP."""
        switching = h11.InformationalResponse(status_code=101, headers=list(answer.headers), reason=answer.reason)
        self.writer.write(self._state.send(switching) or b"")
        await self.writer.drain()

    async def truncated(self, answer: Answer) -> None:
        """The head with the length of the whole, half of the body (of an empty one: half of the head), and the end."""
        kept = [header for header in answer.headers if header[0].lower() not in _FRAMING]
        lines = [b"%s: %s" % header for header in (*kept, (b"Content-Length", b"%d" % len(answer.body)))]
        head = b"\r\n".join((b"HTTP/1.1 %d %s" % (answer.status, answer.reason), *lines, b"\r\n"))
        sent = head + answer.body[: len(answer.body) // 2] if answer.body else head[: len(head) // 2]
        with suppress(OSError):
            self.writer.write(sent)
            await self.writer.drain()
        self.writer.close()

    async def leaves(self) -> None:
        """Return when the other end has closed its side."""
        with suppress(OSError):
            while await self.reader.read(_CHUNK):
                pass

    def reset(self) -> None:
        """Reset, not closed: the client must not be able to take what follows for an answer."""
        held = self.writer.get_extra_info("socket")
        if held is not None and not self.gone:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _next(self) -> object:
        return await _next(self._state, self.reader, self.writer)


class Upstream:
    """One question to the real server, on a connection of its own: none is found stale."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writer: asyncio.StreamWriter | None = None
        self.switched = False  # the answer was 101: what follows is no HTTP

    async def ask(self, request: Request) -> Answer:
        """Its answer. One of NO_ANSWER where there is none."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._state = h11.Connection(h11.CLIENT)
        head = h11.Request(method=request.method, target=request.target.encode("latin-1"), headers=list(request.headers))
        body = [h11.Data(data=request.body)] if request.body else []
        sent = (self._state.send(event) or b"" for event in (head, *body, h11.EndOfMessage()))
        self._writer.write(b"".join(sent))
        await self._writer.drain()
        return await self._answer()

    async def _answer(self) -> Answer:
        assert self._writer is not None
        while True:
            event = await _next(self._state, self._reader, self._writer)
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                self.switched = True
                return Answer(101, event.headers.raw_items(), b"", event.reason)
            if isinstance(event, h11.Response):
                break
            if not isinstance(event, h11.InformationalResponse):
                raise ConnectionResetError("no answer")
        body = bytearray()
        while not isinstance(part := await _next(self._state, self._reader, self._writer), h11.EndOfMessage):
            if not isinstance(part, h11.Data):
                raise ConnectionResetError("half an answer")
            body += part.data
        return Answer(event.status_code, event.headers.raw_items(), bytes(body), event.reason)

    async def tunnel(self, client: Client) -> None:
        """Pass bytes both ways, until one side ends."""
        assert self._writer is not None
        with suppress(OSError):
            client.writer.write(self._state.trailing_data[0])
            pumps = [_pump(client.reader, self._writer), _pump(self._reader, client.writer)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


async def _next(state: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> object:
    while (event := state.next_event()) is h11.NEED_DATA:
        if state.our_role is h11.SERVER and state.they_are_waiting_for_100_continue:
            writer.write(state.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        state.receive_data(await reader.read(_CHUNK))
    return event


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
