"""A machine with a worker of a process pool, and its death: the worker and all that it has started, at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from keyturn.testing.processes import Processes, free_port
from keyturn.testing.programs import installed, pool_worker


class Machine:
    """One worker, with a PREFECT_HOME that no other machine sees. `name`: what Prefect calls it."""

    def __init__(self, processes: Processes, folder: Path, name: str, pool: str, environ: Mapping[str, str]) -> None:
        self.processes, self.name = processes, name
        own = {"PREFECT_HOME": str(folder / name)}
        own["PREFECT_WORKER_WEBSERVER_PORT"] = str(free_port())
        words = [*installed(pool_worker(pool)), "--name", name, "--limit", "2"]
        self.process = processes.start(name, words, env={**environ, **own})

    def runs(self, process: int) -> bool:
        """Whether a process of this id is one of its own."""
        return process in family(self.process.pid)

    def die(self) -> list[int]:
        """Nothing that runs on it says another word. Stopped first, so that none starts another meanwhile. Their ids."""
        every = _stopped(self.process.pid)
        for each in every:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.wait()
        del self.processes.running[self.name]
        return every


def family(process: int) -> list[int]:
    """A process and its descendants."""
    return [process, *(each for child in _children(process) for each in family(child))]


def _stopped(process: int) -> list[int]:
    """This process and its descendants, each stopped before it is asked what it has started."""
    try:
        os.kill(process, signal.SIGSTOP)
    except ProcessLookupError:
        return []
    return [process, *(each for child in _children(process) for each in _stopped(child))]


def _children(process: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process:
                found.append(int(stat.parent.name))
    return found
