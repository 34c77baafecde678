"""A worker: one child process that runs one rotation, with a gate of its own between it and the outside."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from keyturn.testing.wire import Exchange, Gate
from keyturn.testing.wire_faults import Fault
from tests.chaos.hosts import DIRECT, VARIABLE
from tests.chaos.outside import Outside
from tests.chaos.world import World

MOST_SECONDS = 400  # of one run; the longest that is waited out on purpose is a lease and a lost roll
DONE = ("rotated, old key refused", "nothing to do", "rotated")


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

    def __str__(self) -> str:
        return f"{self.result or self.error or f'ended with {self.code}'}: {self.sentence[:200]}"


class Trouble(Protocol):
    """What is done to a worker at its exchanges. See Keeper; `worker` is whose gate it is."""

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None: ...

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None: ...


class Peace:
    """No trouble."""

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None:
        return None

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None:
        pass


class Nursery:
    """The driver's side of tests.chaos.nursery."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._pids: dict[int, asyncio.Future[int]] = {}
        self._codes: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count(1)
        self._ready = asyncio.Event()

    async def start(self) -> None:
        home = self._outside.folder / "nursery"
        home.mkdir(parents=True)
        quiet = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL"}
        with (self._outside.folder / "logs" / "nursery.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.nursery"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **quiet, "PREFECT_HOME": str(home), "KEYTURN_CONFIG": str(home / "none.yaml")},
            )
        self._listening = asyncio.create_task(self._listen())
        await asyncio.wait_for(self._ready.wait(), 60)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "ready" in told:
                self._ready.set()
            elif "pid" in told:
                self._pids.pop(told["id"]).set_result(told["pid"])
            else:
                self._codes.pop(told["id"]).set_result(told["code"])

    async def bear(
        self, environ: dict[str, str], run: dict[str, Any], log: Path, told: Path
    ) -> tuple[int, asyncio.Future[int]]:
        """A child's process id, and its exit code when it has ended."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._pids[number], self._codes[number] = loop.create_future(), loop.create_future()
        pid, code = self._pids[number], self._codes[number]
        order = {"id": number, "environ": environ, "run": run, "log": str(log), "told": str(told)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await pid, code

    async def stop(self) -> None:
        self._listening.cancel()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


_NUMBERS = itertools.count(1)


def _next_address() -> str:
    """A loopback address for the gate of each worker: its ports are the servers' own."""
    number = next(_NUMBERS)
    return f"127.{64 + number // 62500 % 64}.{number // 250 % 250}.{number % 250 + 1}"


@dataclass
class Worker:
    """`look` is awaited after every exchange that may have changed something."""

    world: World
    nursery: Nursery
    where: Where = Where.HERE
    trouble: Trouble = field(default_factory=Peace)
    look: Callable[[str], Any] | None = None
    seen: list[Exchange] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)  # faults of the driver itself
    pid: int = 0

    def __post_init__(self) -> None:
        self.number = next(_NUMBERS)
        self.folder = self.world.folder / "runs"
        self.folder.mkdir(exist_ok=True)
        self._server = self.world.outside.elsewhere if self.where is Where.ELSEWHERE else self.world.outside.here

    @property
    def _home(self) -> Path:
        if self.where is Where.HERE:
            return self.world.folder / "home"
        return self.folder / f"home-{self.number}"

    async def run(self, credential: str | None = None, **parameters: Any) -> Outcome:
        """From start to end, whatever that is."""
        host = _next_address()
        parts = {part: f"http://{DIRECT}:{port}" for part, port in self.world.parts.items()}
        async with Gate({**parts, "prefect": self._server.url}, self, host=host, ports=self.world.parts) as self.gate:
            self._home.mkdir(exist_ok=True)
            environ = {
                "PATH": os.environ["PATH"],
                "HOME": str(self._home),
                **self.world.outside.worker_environ(),
                **self.world.environ,
                **self._server.environ,
                "PREFECT_HOME": str(self._home),
                "PREFECT_API_URL": f"{self.gate.url('prefect')}/api",
                "PREFECT_API_REQUEST_TIMEOUT": "5",
                VARIABLE: host,
            }
            told = self.folder / f"{self.number}.json"
            asked = {"credential": credential or self.world.credentials[0].name, **parameters}
            self.pid, ended = await self.nursery.bear(environ, asked, self.folder / "run.log", told)
            try:
                code = await asyncio.wait_for(asyncio.shield(ended), MOST_SECONDS)
            except TimeoutError:
                self.send(signal.SIGKILL)
                return Outcome(await ended, error="StillRunning", sentence=f"it had not ended after {MOST_SECONDS} s")
            finally:
                if not ended.done():
                    self.send(signal.SIGKILL)
        if self.broken:
            raise RuntimeError("the driver failed at a gate") from self.broken[0]
        if not told.exists():
            return Outcome(code)
        facts = json.loads(told.read_text())
        return Outcome(code, **{**facts, "timeline": tuple(facts["timeline"])})

    def send(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # The keeper of its gate ---------------------------------------------------------------------------------------------

    async def before(self, exchange: Exchange) -> Fault | None:
        self.seen.append(exchange)
        with self._told():
            return await self.trouble.before(self, exchange)
        return None

    async def after(self, exchange: Exchange, status: int) -> None:
        with self._told():
            if self.look is not None and not exchange.reads and not exchange.part.startswith(("prefect", "proxy")):
                await self.look(f"{self.where} {exchange}")
            await self.trouble.after(self, exchange, status)

    def _told(self) -> _Told:
        return _Told(self.broken)


class _Told:
    """An error of the driver's at a gate ends the case, instead of a connection of the worker."""

    def __init__(self, broken: list[BaseException]) -> None:
        self._broken = broken

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            self._broken.append(error)
