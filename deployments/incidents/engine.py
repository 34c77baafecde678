"""The thread in which runs are executed: an event loop of its own, for the engine takes the main thread's signals."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any
from uuid import UUID

import prefect.task_engine
import prefect.utilities.visualization  # noqa: F401  # Prefect imports both with the first task: no incident waits for that
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow_async

from keyturn import faults

log = logging.getLogger("keyturn.incidents")


class Engine:
    """Executes runs that are there already, side by side, as their own process would: no polling, no start of a process."""

    def __init__(self, flow: Flow[..., Any]) -> None:
        self._flow = flow
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="incidents", daemon=True)
        self._running: dict[UUID, Future[None]] = {}
        self._thread.start()

    def execute(self, run: FlowRun, parameters: Mapping[str, Any]) -> None:
        """Begin, and return at once. Quiet where it is executed here already."""
        if not self.is_executing(run.id):
            self._running = {each: future for each, future in self._running.items() if not future.done()}
            self._running[run.id] = asyncio.run_coroutine_threadsafe(self._execute(run, dict(parameters)), self._loop)

    def is_executing(self, run: UUID) -> bool:
        future = self._running.get(run)
        return future is not None and not future.done()

    def close(self, seconds: float) -> None:
        """Give what is under way so long, then end it: it is gone on with at the next start."""
        _, late = wait(list(self._running.values()), timeout=seconds)
        for future in late:
            future.cancel()
        wait(late, timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    async def _execute(self, run: FlowRun, parameters: dict[str, Any]) -> None:
        try:
            await run_flow_async(self._flow, flow_run=run, parameters=parameters, return_type="state")
        except Exception as error:
            log.error("run %s ended with a fault of keyturn's: %s", run.id, faults.describe(error))
