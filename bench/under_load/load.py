"""Steady load on a balancer, each answer judged to its last byte, nothing tried twice.

An open loop: requests are sent when they are due, whether or not those before are answered. Every fourth is a stream,
every tenth takes seconds, and half of those are streams.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from bench.under_load.fleet import STREAM_PARTS, Asked

REQUEST_SECONDS = 120.0
_SERVED = re.compile(r"served-by ([0-9a-f]{16})")
_REST = "".join(f" {number}" for number in range(1, STREAM_PARTS))


@dataclass(frozen=True, slots=True)
class Answered:
    """`begun`: seconds after the load's first. `failure`: empty when it was answered whole. `key`: whose, by fingerprint."""

    asked: Asked
    begun: float
    seconds: float
    key: str = ""
    failure: str = ""


class FailedError(Exception):
    """An answer that is not what was asked for; the message says how, in few words that are counted."""


@dataclass
class Load:
    """`per_second` requests until stopped. `answered` grows meanwhile."""

    url: str
    master_key: str
    per_second: float
    keeps_connections: bool = True
    transport: httpx.AsyncBaseTransport | None = None
    answered: list[Answered] = field(default_factory=list)
    sent: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until stopped, then wait for the answers that are still to come."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20 if self.keeps_connections else 0)
        headers = {"Authorization": f"Bearer {self.master_key}"}
        async with httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=REQUEST_SECONDS,
            limits=limits,
            transport=self.transport,
            trust_env=False,
        ) as client:
            pending: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            while not self._stop.is_set():
                task = asyncio.create_task(self._one(client, Asked(self.sent), start))
                pending.add(task)
                task.add_done_callback(pending.discard)
                self.sent += 1
                await asyncio.sleep(max(0.0, start + self.sent / self.per_second - time.monotonic()))
            await asyncio.gather(*pending)

    async def until(self, sent: int) -> None:
        """Wait until so many requests have been sent."""
        while self.sent < sent:  # noqa: ASYNC110  # the loop's own count
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs; afterwards every answer has come."""
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            self._stop.set()
            await task

    async def _one(self, client: httpx.AsyncClient, asked: Asked, start: float) -> None:
        begun, key, failure = time.monotonic(), "", ""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                key = await _judged(client, asked)
        except FailedError as error:
            failure = str(error)
        except Exception as error:  # whatever else a client meets is a failed request, too
            failure = type(error).__name__
        self.answered.append(Answered(asked, begun - start, time.monotonic() - begun, key, failure))


async def _judged(client: httpx.AsyncClient, asked: Asked) -> str:
    """Whose key has answered. FailedError, and what httpx raises."""
    body = {
        "model": asked.model,
        "messages": [{"role": "user", "content": f"hello {asked.number}"}],
        "stream": asked.streamed,
    }
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        text = (await answer.aread()).decode()
    if answer.status_code != 200:
        raise FailedError(f"status {answer.status_code}")
    try:
        content, ended = _streamed(text) if asked.streamed else _whole(text)
    except (ValueError, KeyError, IndexError, TypeError):
        raise FailedError("not an answer of a model") from None
    if not ended:
        raise FailedError("cut short")
    found = _SERVED.match(content)
    if found is None or content[found.end() :] != (_REST if asked.streamed else ""):
        raise FailedError("another content")
    return found[1]


def _whole(text: str) -> tuple[str, bool]:
    choice = json.loads(text)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"] == "stop"


def _streamed(text: str) -> tuple[str, bool]:
    events = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    choices = [choice for event in events if event != "[DONE]" for choice in json.loads(event)["choices"]]
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    finished = any(choice.get("finish_reason") == "stop" for choice in choices)
    return content, finished and events[-1:] == ["[DONE]"]


def failures(answered: list[Answered]) -> dict[str, int]:
    """How often which failure, the most frequent first."""
    return dict(Counter(each.failure for each in answered if each.failure).most_common())
