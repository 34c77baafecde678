"""Steady traffic, as an application makes it: the vendor's own client, streaming and not, with no retries to hide behind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from openai import AsyncOpenAI, OpenAIError

STREAM_EVERY = 4
REQUEST_SECONDS = 120.0


@dataclass
class Traffic:
    """Requests at a steady rate until `stop`, at most `limit`. A request fails when it is refused, broken or cut short."""

    base_url: str
    api_key: str
    models: Sequence[str]
    per_second: float = 5.0
    limit: int = 20_000
    requests: int = 0
    streamed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def failed(self) -> int:
        return self.failures.total()

    def stop(self) -> None:
        self._stop.set()

    async def until(self, requests: int) -> None:
        """Wait until so many requests have been answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.requests >= requests)

    async def run(self) -> None:
        """Send until stopped, then wait for the answers that are still to come."""
        async with AsyncOpenAI(
            base_url=f"{self.base_url}/v1", api_key=self.api_key, max_retries=0, timeout=REQUEST_SECONDS
        ) as client:
            pending: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            for number in range(self.limit):
                if self._stop.is_set():
                    break
                task = asyncio.create_task(self._one(client, number))
                pending.add(task)
                task.add_done_callback(pending.discard)
                due += 1 / self.per_second
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), max(0.0, due - time.monotonic()))
            await asyncio.gather(*pending)

    async def _one(self, client: AsyncOpenAI, number: int) -> None:
        streamed = number % STREAM_EVERY == 0
        model = self.models[number % len(self.models)]
        begun = time.monotonic()
        try:
            complete = await (self._stream if streamed else self._plain)(client, model, number)
            if not complete:
                self.failures["answer cut short"] += 1
        except OpenAIError as error:
            status = getattr(error, "status_code", "")
            self.failures[f"{type(error).__name__} {status}".strip()] += 1
        except Exception as error:  # a broken stream shows as an error of the transport below
            self.failures[type(error).__name__] += 1
        self.requests += 1
        self.streamed += streamed
        self.seconds.append(time.monotonic() - begun)
        async with self._answered:
            self._answered.notify_all()

    async def _plain(self, client: AsyncOpenAI, model: str, number: int) -> bool:
        answer = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": f"hello {number}"}])
        return bool(answer.choices and answer.choices[0].finish_reason == "stop")

    async def _stream(self, client: AsyncOpenAI, model: str, number: int) -> bool:
        finished = False
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": f"hello {number}"}], stream=True
        )
        async for part in stream:
            finished = finished or any(choice.finish_reason == "stop" for choice in part.choices)
        return finished
