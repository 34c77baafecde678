"""A thread of its own for a wait that may take for ever: what it gives, and what becomes of it when nobody waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from keyturn.own_thread import in_own_thread


async def test_what_the_work_gives_and_raises_comes_through() -> None:
    stopped: list[int] = []
    assert await in_own_thread(lambda: 7, lambda: stopped.append(1), "t") == 7
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 // 0, lambda: stopped.append(2), "t")
    assert stopped == [1, 2]


async def test_a_wait_that_is_cancelled_stops_the_work_and_does_not_wait_for_it() -> None:
    running, stop, go_on, ended = (threading.Event() for _ in range(4))
    problems: list[object] = []
    threading.excepthook, before = lambda told: problems.append(told), threading.excepthook

    def work() -> None:
        running.set()
        stop.wait(30)
        go_on.wait(30)
        ended.set()

    try:
        task = asyncio.create_task(in_own_thread(work, stop.set, "t"))
        await asyncio.to_thread(running.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stop.is_set()
        assert not ended.is_set()
        go_on.set()
        await asyncio.to_thread(ended.wait, 30)
        for thread in [each for each in threading.enumerate() if each.name == "t"]:
            await asyncio.to_thread(thread.join, 30)
    finally:
        threading.excepthook = before
    assert not problems


async def test_more_waits_than_the_pool_has_threads_leave_the_pool_alone() -> None:
    stop = threading.Event()
    waits = [asyncio.create_task(in_own_thread(lambda: stop.wait(60), lambda: None, "t")) for _ in range(70)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 30) == 7
    stop.set()
    await asyncio.gather(*waits)


def test_it_keeps_no_program_from_ending() -> None:
    code = """
import asyncio, time
from keyturn.own_thread import in_own_thread
async def main():
    task = asyncio.create_task(in_own_thread(lambda: time.sleep(3600), lambda: None, "t"))
    await asyncio.sleep(0.2)
    task.cancel()
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
