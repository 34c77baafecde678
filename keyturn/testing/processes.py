"""Real programs as child processes on loopback: started with a log file, waited for, and stopped by their id."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

PORTS = range(15000, 32768)
_GIVEN: deque[int] = deque(maxlen=2000)


class Processes:
    """Everything that one test session or demo has started. `stop()` ends it all, last started first."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program; its output is appended to `<logs>/<name>.log`. `env` is added to this process's own.

        `user`: whom it is to run as, for root.
        """
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                **as_user(user),
            )
        self.running[name] = process
        return process

    def stop(self, name: str | None = None, grace: float = 30) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; one program by its name, or all."""
        names = [name] if name else list(reversed(self.running))
        for each in names:
            self._signal(self.running[each], signal.SIGTERM)
        deadline = time.monotonic() + grace
        for each in names:
            process = self.running.pop(each)
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._signal(process, signal.SIGKILL)
                process.wait()

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(number)


def as_user(user: str | None) -> dict[str, Any]:
    """What subprocess is to be told to run a program as somebody else, with nothing of this process's own rights."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A loopback port that nothing listens on right now, and that was not given out just before: whoever asked for that one
    may not have come to bind it yet.

    Below those that the system gives to outgoing connections (Linux: from 32768 on): one of these may be taken by any
    client before the server comes to bind it.
    """
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port in _GIVEN:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _GIVEN.append(port)
            return port


def wait_for_http(
    url: str,
    *,
    seconds: float,
    process: subprocess.Popen[bytes] | None = None,
    accept: Callable[[httpx.Response], bool] = lambda answer: answer.status_code == 200,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Wait until a GET is answered as wanted. RuntimeError when the time is over or the program has ended."""
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=5, trust_env=False, headers=headers) as client:
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"the program behind {url} ended with code {process.returncode}")
            with suppress(httpx.HTTPError):
                if accept(client.get(url)):
                    return
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer as wanted within {seconds:g} s")
