"""A worker: one child process that runs one rotation, with a gate of its own between it and the outside."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from flows.outcome import Result
from flows.swept import State
from keyturn.testing.wire import Exchange, Gate
from keyturn.testing.wire_faults import Fault
from tests.chaos.births import Nursery
from tests.chaos.hosts import DIRECT, VARIABLE
from tests.chaos.world import World

MOST_SECONDS = 400  # of one run; the longest that is waited out on purpose is a lease and a lost roll
DONE = (Result.RETIRED, Result.NOTHING, Result.ROTATED, State.QUIET)


class Where(StrEnum):
    """Whose Prefect a worker uses, and which folder: the machine it stands for."""

    HERE = "here"
    ELSEWHERE = "elsewhere"  # another server and a fresh home: nothing but the configuration
    BESIDE = "beside"  # the same server and a fresh home: it has to wait for the lease of who died


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `code`: how its process ended (negative: a signal)."""

    code: int
    result: str = ""
    error: str = ""
    sentence: str = ""
    timeline: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.result in DONE

    @property
    def unexpected(self) -> bool:
        """It neither ended with a result, nor with an error of keyturn's own, nor by our signal."""
        return self.error in ("UnexpectedError", "StillRunning") or self.code not in (0, 1, -signal.SIGKILL)

    def __str__(self) -> str:
        return f"{self.result or self.error or f'ended with {self.code}'}: {self.sentence[:300]}"


class Trouble(Protocol):
    """What is done to a worker at its exchanges. See Keeper; `worker` is whose gate it is."""

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None: ...

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None: ...

    async def over(self, worker: Worker, exchange: Exchange) -> None: ...


class Peace:
    """No trouble."""

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None:
        return None

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None:
        pass

    async def over(self, worker: Worker, exchange: Exchange) -> None:
        pass


_NUMBERS = itertools.count(1)


def _address(number: int) -> str:
    """A loopback address for the gate of each worker: its ports are the servers' own."""
    return f"127.{64 + number // 62500 % 64}.{number // 250 % 250}.{number % 250 + 1}"


@dataclass
class Worker:
    """`look` is awaited after every exchange that may have changed something."""

    world: World
    nursery: Nursery
    where: Where
    trouble: Trouble
    look: Callable[[str], Awaitable[None]]
    seen: list[Exchange] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)  # faults of the driver itself
    pid: int = 0

    def __post_init__(self) -> None:
        self.number = next(_NUMBERS)
        self.folder = self.world.folder / "runs"
        self.folder.mkdir(exist_ok=True)
        self._server = self.world.outside.elsewhere if self.where is Where.ELSEWHERE else self.world.outside.here

    @property
    def _home(self) -> Path:
        return self.world.folder / "home" if self.where is Where.HERE else self.folder / f"home-{self.number}"

    async def run(self, credential: str | None = None, *, sweep: bool = False) -> Outcome:
        """From start to end, whatever that is."""
        host = _address(self.number)
        parts = {part: f"http://{DIRECT}:{port}" for part, port in self.world.parts.items()}
        async with Gate({**parts, "prefect": self._server.url}, self, host=host, ports=self.world.parts) as self.gate:
            self._home.mkdir(exist_ok=True)
            told = self.folder / f"{self.number}.json"
            name = credential or self.world.credentials[0].name
            asked = {"credential": name, "sweep": sweep, "wait": self.world.shape.overlap != "0s"}
            self.pid, ended = await self.nursery.bear(self._environ(host), asked, self.folder / "run.log", told)
            try:
                code = await asyncio.wait_for(asyncio.shield(ended), MOST_SECONDS)
            except TimeoutError:
                self.send(signal.SIGKILL)
                return Outcome(await ended, error="StillRunning", sentence=f"it had not ended after {MOST_SECONDS} s")
            finally:
                if not ended.done():
                    self.send(signal.SIGKILL)
        if self.broken:
            raise RuntimeError(f"the driver failed at a gate: {self.broken[0]!r}") from self.broken[0]
        if not told.exists():
            return Outcome(code)
        facts = json.loads(told.read_text())
        return Outcome(code, **{**facts, "timeline": tuple(facts["timeline"])})

    def _environ(self, host: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            **self.world.outside.worker_environ(),
            **self.world.environ,
            **self._server.environ,
            "PREFECT_HOME": str(self._home),
            "PREFECT_API_URL": f"{self.gate.url('prefect')}/api",
            "PREFECT_API_REQUEST_TIMEOUT": "15",
            VARIABLE: host,
        }

    def send(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # The keeper of its gate ---------------------------------------------------------------------------------------------

    async def before(self, exchange: Exchange) -> Fault | None:
        self.seen.append(exchange)
        with self._remembered():
            return await self.trouble.before(self, exchange)

    async def after(self, exchange: Exchange, status: int) -> None:
        with self._remembered():
            if not exchange.reads and not exchange.part.startswith(("prefect", "proxy")):
                await self.look(f"{self.where} {exchange}")
            await self.trouble.after(self, exchange, status)

    async def over(self, exchange: Exchange) -> None:
        with self._remembered():
            await self.trouble.over(self, exchange)

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """An error of the driver's at a gate ends the case, and not a connection of the worker alone."""
        try:
            yield
        except Exception as error:
            self.broken.append(error)
            self.send(signal.SIGKILL)  # it may be asleep
            raise
