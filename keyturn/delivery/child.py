"""One run of the supervised program: it is started, asked to end, and in the end made to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

_LIFELINE = Path(__file__).with_name("lifeline.py")

CLEAN = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
"""How a program may end that was asked to: a proxy that drained ends by the signal itself (uvicorn: -15)."""


class Child:
    """A running program. It leads a process group of its own and ends when the supervisor does (see lifeline.py).

    Its own group, because Ctrl-C in a terminal goes to the whole foreground group: the program would stop serving before
    the balancer knows. And because a proxy may have workers, which must not keep the port when their leader is killed.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.ended: asyncio.Task[int] = asyncio.create_task(process.wait())
        self.asked = False  # to end

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start it with exactly this environment. What it prints goes where the supervisor prints."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_LIFELINE), str(os.getpid())),
                *command,
                stdin=asyncio.subprocess.DEVNULL,  # a background group that reads a terminal is stopped by the kernel
                env=environment,
                process_group=0,
            )
        )

    @property
    def running(self) -> bool:
        return not self.ended.done()

    async def stop(self, grace: timedelta) -> int:
        """SIGTERM, wait up to `grace` for a clean end, then SIGKILL; the return code (-n for signal n).

        May be repeated, also after a cancelled call: the program is asked once, for some take a second SIGTERM as haste.
        """
        if self.running and not self.asked:
            self.asked = True
            with suppress(ProcessLookupError):
                # Not Popen.send_signal: it reaps an ended child behind the back of asyncio, which then reports 255.
                os.kill(self.pid, signal.SIGTERM)
        await asyncio.wait({self.ended}, timeout=grace.total_seconds())
        self.kill()
        return await asyncio.shield(self.ended)

    def kill(self) -> None:
        """SIGKILL to what is left of the group: the program, or workers that outlived it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def exit_code(returned: int) -> int:
    """A return code as a shell tells it: 128 + n for signal n."""
    return 128 - returned if returned < 0 else returned
