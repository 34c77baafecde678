"""A load balancer on one loopback port, over whatever names its targets: a Service, a proxy before containers, an ALB.

**Connections** are given to the targets in turn, whatever goes through them, so a client that keeps its connection keeps its
target, and what runs on a connection goes on when its target is named no more. Where no target is known, or one refuses, the
client's connection is reset: to a user that is what a 502 or 503 of a real one is.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

Target = tuple[str, int]  # address and port

_POLL = 0.01  # seconds between two looks at which targets there are
_AGAIN = 0.25  # seconds until a connection is tried once more
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Health:
    """An active health check: each target is asked for `path` every `interval` seconds, and is healthy once it answers 200,
    until it did not `falls` times in a row, within `timeout` seconds each. `fails_open`: where none is healthy, all are
    given connections, as an ALB does.
    """

    path: str
    interval: float = 0.5
    timeout: float = 2.0
    falls: int = 1
    fails_open: bool = False


class Balancer:
    """A context manager: inside it `url` leads to the targets.

    `targets`: those that there are now; it is called again and again, in a thread of the balancer's. `health`: which of them
    may be given connections; else all. `lag`: seconds between what is and what is known. `tried_for`: seconds for which a
    connection that nobody takes is tried on the next target; 0: not at all. What was sent on a connection is never sent
    twice.
    """

    def __init__(
        self,
        targets: Callable[[], Iterable[Target]],
        *,
        lag: float = 0.0,
        health: Health | None = None,
        tried_for: float = 0.0,
    ) -> None:
        self._targets, self._health = targets, health
        self.lag, self.tried_for = lag, tried_for
        self.endpoints: tuple[Target, ...] = ()  # known now
        self.healthy: set[Target] = set()
        self._checks: dict[Target, asyncio.Task[None]] = {}
        self._turn = 0
        self._carrying: set[asyncio.Task[None] | None] = set()  # a connection whose client is done is held by nothing else
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="balancer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def wait_for(self, count: int, seconds: float) -> None:
        """Until so many targets are known. RuntimeError when the time is over."""
        deadline = time.monotonic() + seconds
        while len(self.endpoints) != count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(self.endpoints)} targets are known, and not {count}")
            time.sleep(_POLL)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        timeout = self._health.timeout if self._health else None
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as http:
            self.endpoints = self._found(http)
            server = await asyncio.start_server(self._forward, sock=self._socket)
            following = asyncio.create_task(self._follow(http))
            self._begun.set()
            await self._over.wait()
            for each in (following, *self._checks.values()):
                each.cancel()
            server.close()

    async def _follow(self, http: httpx.AsyncClient) -> None:
        """What is known follows what is, `lag` later."""
        known = self.endpoints
        while True:
            if (found := self._found(http)) != known:
                known = found
                self._loop.call_later(self.lag, self._know, found)
            await asyncio.sleep(_POLL)

    def _know(self, found: tuple[Target, ...]) -> None:
        self.endpoints = found

    def _found(self, http: httpx.AsyncClient) -> tuple[Target, ...]:
        named = tuple(self._targets())
        if self._health is None:
            return named
        for gone in self._checks.keys() - set(named):
            self._checks.pop(gone).cancel()
            self.healthy.discard(gone)
        for new in set(named) - self._checks.keys():
            self._checks[new] = asyncio.create_task(self._check(http, new, self._health))
        healthy = tuple(each for each in named if each in self.healthy)
        return named if self._health.fails_open and not healthy else healthy

    async def _check(self, http: httpx.AsyncClient, target: Target, health: Health) -> None:
        failed = 0
        while True:
            if await _answers(http, f"http://{target[0]}:{target[1]}{health.path}"):
                failed = 0
                self.healthy.add(target)
            else:
                failed += 1
                if failed >= health.falls:
                    self.healthy.discard(target)
            await asyncio.sleep(health.interval)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._carrying.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._carrying.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await self._connected()
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        except (OSError, asyncio.CancelledError):  # one side is gone, or this balancer, so the other must see that
            writer.transport.abort()
            there_writer.transport.abort()
        finally:
            writer.close()
            there_writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the next target, or the one after it. OSError: nobody is there, or listens."""
        until = self._loop.time() + self.tried_for
        while True:
            try:
                return await asyncio.open_connection(*self._next())
            except OSError:
                if self._loop.time() >= until:
                    raise
            await asyncio.sleep(_AGAIN)

    def _next(self) -> Target:
        if not self.endpoints:
            raise ConnectionRefusedError
        self._turn += 1
        return self.endpoints[self._turn % len(self.endpoints)]


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url, headers={"Connection": "close"})).status_code == 200
    except httpx.HTTPError:
        return False


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until the source has said all; then the sink is told so, and may still answer."""
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    with suppress(OSError):
        sink.write_eof()
