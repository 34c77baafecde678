"""Waits that block and may take for ever: each in a thread of its own, which keeps no program from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(work: Callable[[], T], stop: Callable[[], object], name: str) -> T:
    """What `work` gives, or raises. `stop` is called when it is over, or cancelled: then `work` has to end soon.

    Nobody waits for that. `asyncio.to_thread` is not for it: its pool has few threads, which reads need, and the
    interpreter joins them at its end. RuntimeError where no thread can be started.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # else a cancelled wait would cancel it, and its thread could not set it any more

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return await asyncio.wrap_future(done)
    finally:
        stop()
