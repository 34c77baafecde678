"""When a program counts as ready: its own word for it, given by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from keyturn.delivery.child import Child
from keyturn.http_answers import no_cookies


class NotReadyError(Exception):
    """The program was started and did not become ready. `code`: how it ended, if it ended by itself."""

    def __init__(self, words: str, code: int | None = None) -> None:
        super().__init__(words)
        self.code = code


class Readiness:
    """The address where the program answers 200 once it can serve. `pause` is asyncio.sleep, or a test's own."""

    def __init__(self, url: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._url = url
        self._pause = pause
        # No keep-alive: a draining server would have to wait for a connection of ours.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(trust_env=False, timeout=5, limits=limits, cookies=no_cookies())

    async def answers(self) -> bool:
        try:
            async with self._http.stream("GET", self._url) as answer:  # what it says beside the status is not read
                return answer.status_code == 200
        except httpx.HTTPError:
            return False

    async def wait(self, child: Child, limit: timedelta) -> None:
        """Return when it answers. NotReadyError when the child has ended, or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit.total_seconds()
        while loop.time() < deadline:
            answered = await self.answers()
            if not child.running:
                code = child.ended.result()
                raise NotReadyError(f"it ended with code {code}", code)
            if answered:
                return
            await asyncio.wait({child.ended}, timeout=0.1)
        raise NotReadyError(f"no 200 from {self._url} within {limit.total_seconds():g} s")

    async def nobody_answers(self) -> None:
        """Make sure that the port is free: else a stranger's 'ready' is taken for the program's, and its keys for ours.

        NotReadyError when it is still taken after 5 s (a predecessor's last worker may need a moment).
        """
        address = urlsplit(self._url)
        host, port = address.hostname or "127.0.0.1", address.port or (443 if address.scheme == "https" else 80)
        for _ in range(50):
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                return
            writer.close()
            await self._pause(0.1)
        raise NotReadyError(f"something else listens on {host}:{port}")

    async def aclose(self) -> None:
        await self._http.aclose()
