"""One restart of a member, by a command: never two at once, and never one more because a worker died.

Beside the member's state file stand `<state>.lock`, held while a restart is begun, and `<state>.restart`, which names the
command's process and the value that it is for. A command outlives the worker that ran it; the next one waits for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from keyturn.fleets.launched import start_time
from keyturn.json_object import UnreadableError, json_object

_STEPPING_STONE = Path(__file__).with_name("stepping_stone.py")
_LARGEST = 4096  # bytes
# What a process manager's client needs. Everything else stays here: the environment holds keyturn's own credentials.
GIVEN = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


class Restart:
    """Restarts of one member. OSError where no file can be written beside its state, or the command cannot be run."""

    def __init__(self, state: Path, command: Sequence[str]) -> None:
        self._lock = state.with_name(f"{state.name}.lock")
        self._note = state.with_name(f"{state.name}.restart")
        self._command = tuple(command)

    async def run(self, fingerprint: str) -> int | None:
        """Run the command until it ends; its code, -n for signal n. None, and nothing is run: one runs already."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.is_under_way():
                return None
            self._note.unlink(missing_ok=True)
            process = await self._start(lock, fingerprint)
        except BlockingIOError:
            return None
        finally:
            os.close(lock)
        return await process.wait()

    def is_under_way(self) -> bool:
        """Whether a command runs that was begun here, by whomever."""
        pid, started = self._read()[1:]
        return bool(pid) and start_time(pid) == started

    def was_begun(self, fingerprint: str, seconds: float) -> bool:
        """Whether the last command was for this value, and was begun in these last seconds."""
        if self._read()[0] != fingerprint:
            return False
        try:
            return 0 <= time.time() - self._note.stat().st_mtime < seconds
        except OSError:
            return False

    async def _start(self, lock: int, fingerprint: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_STEPPING_STONE), str(lock), str(self._note), fingerprint),
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,  # what it prints may be anything
            stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name in GIVEN},
            start_new_session=True,  # it goes on when this worker is killed: half a restart is an outage
            pass_fds=(lock,),
        )

    def _read(self) -> tuple[str, int, int]:
        """What the note says: for which value, and which process; nothing where it is none of ours."""
        try:
            document = json_object(self._note.read_bytes()[:_LARGEST])
        except (OSError, UnreadableError):
            return "", 0, 0
        fingerprint, pid, started = (document.get(name) for name in ("fingerprint", "pid", "started"))
        if not isinstance(fingerprint, str) or not isinstance(pid, int) or not isinstance(started, int):
            return "", 0, 0
        return fingerprint, pid, started
