"""A member's way out of its balancer before it restarts, and back into it: a command for each, and a wait after it.

Beside the member's state file stands `<state>.drain`: locked while a worker rolls the member, and not empty while the member
is out, or may be. So whoever goes on after a worker that died knows that it has to be put back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from keyturn.errors import RollFailedError
from keyturn.file_lock import try_lock
from keyturn.fleets.restart import GIVEN
from keyturn.model import Finding

_COMMAND = 120.0  # seconds for one of the two; LiteLLM's /health/drain answers when its last request has ended
_OUT = b"out\n"
_pause = asyncio.sleep


class Drain:
    """Of one member. Both commands may be run again at any time. Without `before` nothing is done, and nobody waits.

    `seconds`: how long the balancer takes until it gives the member no more requests, and until it gives it some again.
    OSError where the file cannot be written.
    """

    def __init__(self, name: str, state: Path, before: Sequence[str], after: Sequence[str], seconds: float) -> None:
        self._name, self._note = name, state.with_name(f"{state.name}.drain")
        self._before, self._after, self._seconds = tuple(before), tuple(after), seconds

    @property
    def is_set(self) -> bool:
        return bool(self._before)

    @property
    def is_out(self) -> bool:
        """Whether it was taken out and not put back, by whomever."""
        try:
            return self.is_set and self._note.stat().st_size > 0
        except OSError:
            return False

    @asynccontextmanager
    async def alone(self, over: float, poll: float) -> AsyncIterator[None]:
        """One worker at a time: else one puts the member back while another is about to restart it.

        `over`: until when it is waited for another one, by the loop's clock. TimeoutError: it is still at it.
        """
        if not self.is_set:
            yield
            return
        lock = os.open(self._note, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not try_lock(lock):
                if asyncio.get_running_loop().time() > over:
                    raise TimeoutError
                await asyncio.sleep(poll)
            yield
        finally:
            os.close(lock)

    async def take_out(self) -> None:
        """RollFailedError: the command failed, or cannot be run."""
        self._note.write_bytes(_OUT)  # first: it may be half out when the worker dies
        await self._run("before", self._before)
        await _pause(self._seconds)

    async def put_back(self) -> None:
        """Quiet where it was not taken out. It returns when the balancer has it again, so that the next one may leave.

        RollFailedError: the command failed, or cannot be run; the next roll tries again.
        """
        if self.is_out:
            if self._after:
                await self._run("after", self._after)
            await _pause(self._seconds)
            self._note.write_bytes(b"")

    def examine(self) -> Sequence[Finding]:
        what = f"{self._name}: balancer"
        if not self.is_set:
            words = "it is not told before a restart: on a busy machine that costs requests"
            return [Finding(what, None, words, "set `before`: docs/litellm.md, Restarts with a drain")]
        findings = [
            Finding(f"{self._name}: {word}", False, f"{command[0]} is not there", "name it with its path")
            for word, command in (("before", self._before), ("after", self._after))
            if command and shutil.which(command[0]) is None
        ]
        if self.is_out:
            words = "it was taken out for a roll, and not put back yet"
            findings.append(Finding(what, None, words, "the next roll puts it back"))
        return findings

    async def _run(self, word: str, command: Sequence[str]) -> None:
        ended = await _code(command)
        if ended != "0":
            raise RollFailedError(
                f"the command `{word}` of {self._name} {ended}",
                remedy=f"run it by hand and look; it begins with {command[0]}",
            )


async def _code(command: Sequence[str]) -> str:
    """How it ended: `0`, or words that say what was wrong."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,  # what it prints may be anything
            stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name in GIVEN},
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run ({type(error).__name__})"
    try:
        code = await asyncio.wait_for(process.wait(), _COMMAND)
    except TimeoutError:
        return f"did not end within {_COMMAND:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return f"ended with code {code}" if code else "0"
