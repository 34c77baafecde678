"""`keyturn exec`: a supervisor, its listeners and its signals, in one call."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack

from keyturn.delivery.control import control_app, health_app
from keyturn.delivery.listeners import control_socket, health_socket, serving
from keyturn.delivery.supervisor import Supervisor
from keyturn.material import KeyMaterial


async def run_exec(supervisor: Supervisor, *, control: str, token: KeyMaterial, health: str | None = None) -> int:
    """Run the supervisor with its control endpoint until it ends; the exit code to end with. Main thread only.

    `control`: `http://127.0.0.1:PORT` (loopback alone) or `unix:/PATH`. `health`: `HOST:PORT` of a second listener that
    answers /health/* alone. SIGTERM and SIGINT end it gently. KeyturnError as in `Supervisor.run`, and MisconfiguredError
    for an address that cannot be listened on, before the program is started.
    """
    for name in ("httpx", "uvicorn.error"):  # else a line for every question whether the program is ready
        logging.getLogger(name).setLevel(logging.WARNING)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, supervisor.stop)
    try:
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(control_socket(control))
            await stack.enter_async_context(serving(control_app(supervisor, token), listener))
            if health is not None:
                listener = stack.enter_context(health_socket(health))
                await stack.enter_async_context(serving(health_app(supervisor), listener))
            return await supervisor.run()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
