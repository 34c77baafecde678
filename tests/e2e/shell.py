"""A bash that types a page: one block after the other, each with what it prints in a file of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 500  # seconds, for all that is typed
LEAVING = 30  # seconds, for what was begun in the background


class Shell:
    """It goes on from block to block, up to the first command that fails. All that it has begun ends with it.

    `environ` is added to little more than the search path. `keyboard`: the lines that are typed where a command asks.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None, keyboard: Sequence[str] = ()) -> None:
        given = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
        self._environ = given | {"COLUMNS": "200"} | dict(environ or {})
        self._folder, self._keyboard = folder, keyboard
        self._process: subprocess.Popen[bytes] | None = None

    def type(self, blocks: Sequence[str]) -> list[str]:
        """What each block prints."""
        told = [self._folder / f"block-{n}.txt" for n, _ in enumerate(blocks)]
        pairs = zip(told, blocks, strict=True)
        script = self._folder / "typed.sh"
        script.write_text("set -e\n" + "".join(f"exec > {shlex.quote(str(path))} 2>&1\n{block}" for path, block in pairs))
        shell = self._process = subprocess.Popen(
            ["bash", script], cwd=self._folder, env=self._environ, stdin=subprocess.PIPE, start_new_session=True
        )
        assert shell.stdin is not None
        with shell.stdin as keyboard:
            keyboard.writelines(f"{line}\n".encode() for line in self._keyboard)
        with suppress(subprocess.TimeoutExpired):
            shell.wait(PATIENCE)
        said = [path.read_text() for path in told if path.exists()]
        assert shell.returncode == 0, f"this block failed, or does not end:\n{blocks[len(said) - 1]}\n{said[-1]}"
        return said

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        deadline = time.monotonic() + LEAVING
        with suppress(ProcessLookupError):  # nothing is left of its group
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            while time.monotonic() < deadline:
                os.killpg(self._process.pid, 0)
                time.sleep(0.1)
            os.killpg(self._process.pid, signal.SIGKILL)
