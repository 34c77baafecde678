"""The driver's side of tests.chaos.nursery: it asks for children, and hears when they have ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.chaos.outside import Outside

READY_SECONDS = 120


class Nursery:
    """The one process that forks every worker: to import Prefect and the SDKs takes seconds, to fork takes none."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._pids: dict[int, asyncio.Future[int]] = {}
        self._codes: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count(1)
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

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
        self._listening = asyncio.create_task(self._listen(self._process))
        await asyncio.wait_for(self._ready.wait(), READY_SECONDS)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
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
        assert self._process is not None and self._process.stdin is not None
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._pids[number], self._codes[number] = loop.create_future(), loop.create_future()
        pid, code = self._pids[number], self._codes[number]
        order = {"id": number, "environ": environ, "run": run, "log": str(log), "told": str(told)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return await asyncio.wait_for(pid, READY_SECONDS), code

    async def stop(self) -> None:
        if self._process is None:
            return
        self._listening.cancel()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
