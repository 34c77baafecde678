"""Programs that end with the process that started them, however that ends: also by SIGKILL.

A second program, the keeper, is told of each one before it does anything, through a pipe that closes when the process at its
other end is gone; whoever is still listed then is killed, by its id, with all that it has started.

Run as a script, never imported, by `-I -S`: as `keep` it is the keeper; as `run` it waits for a line, and becomes a program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class Kept:
    """One program, at the head of a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], keeper: Keeper) -> None:
        self.pid = process.pid
        self._process, self._keeper = process, keeper
        self._code: int | None = None
        self._lock = threading.Lock()

    def exit_code(self) -> int | None:
        """None while it runs; as a shell tells it: 128 + n for signal n. What it has left behind is killed."""
        with self._lock:
            if self._code is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                self._reap()
            return self._code

    def send(self, number: signal.Signals) -> None:
        """To the program alone; nothing where it has ended."""
        with self._lock:
            if self._code is None:  # not reaped: its id is still its own
                os.kill(self.pid, number)

    def kill(self) -> None:
        """It, and all that it has started, has ended when this gives."""
        with self._lock:
            if self._code is None:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                self._reap()

    def _reap(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._keeper.forget(self)
        returned = self._process.wait()
        self._code = 128 - returned if returned < 0 else returned


class Keeper:
    """Starts programs. A context manager: in the end it kills those that run, and goes itself."""

    def __init__(self) -> None:
        self._running: set[Kept] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._program = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, "keep"],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal must not end it before the others
        )

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], output: IO[Any] | int, folder: Path | None = None
    ) -> Kept:
        """It has exactly this environment. Exit code 127 where there is no such program. OSError after the end."""
        with self._lock:
            if self._closed:
                raise OSError("nothing is started any more")
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, "run", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
            kept = Kept(process, self)
            self._running.add(kept)
            self._tell("+", kept)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(b"\n")
        return kept

    def forget(self, kept: Kept) -> None:
        """To be called before it is reaped: afterwards its id may be another's."""
        with self._lock:
            self._running.discard(kept)
            self._tell("-", kept)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for each in running:
            each.kill()
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _tell(self, sign: str, kept: Kept) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(f"{sign}{kept.pid}\n".encode())
        self._program.stdin.flush()


def _keep() -> None:
    """Until the pipe ends; then nobody is there who could start or end the listed ones."""
    listed: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            listed.add(pid)
        else:
            listed.discard(pid)
    for pid in listed:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _run(command: Sequence[str]) -> None:
    if os.read(0, 1) != b"\n":
        sys.exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))  # without a shell
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        _keep()
    else:
        _run(sys.argv[2:])
