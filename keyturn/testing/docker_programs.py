"""What runs in a container of the double: a real program as a process of this machine, or one that is played in memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

File = tuple[bytes, datetime]


class Program(ABC):
    """One container's. It is started, ends, and may be started again; its files stay meanwhile."""

    pid = 0
    health = "healthy"

    @abstractmethod
    async def start(self, environment: Mapping[str, str], address: str, ended: Callable[[int], None]) -> None:
        """`ended` is called once, with the exit code, when it has ended, by whatever. OSError: it cannot be started."""

    @abstractmethod
    async def stop(self, seconds: float) -> None:
        """Tell it to end, and make it after so many seconds. Returns when it has; also for who asks meanwhile."""

    @abstractmethod
    def read(self, path: str) -> File | None:
        """A file of the container."""

    @abstractmethod
    def has(self, folder: str) -> bool:
        """Whether there is such a folder."""

    @abstractmethod
    def write(self, folder: str, name: str, content: bytes) -> None:
        """Into a folder that is there."""

    @abstractmethod
    async def forget(self) -> None:
        """The container is removed, and with it whatever runs still."""


@dataclass
class Played(Program):
    """In memory. It reads `store` (credential -> version and fingerprint) when it starts and writes down what it read, as
    `keyturn exec --state` does, after `reading` looks at it; it is ready after `slow` more; it ends after `stopping`
    turns of the loop. `refuses`: it ends at once when a variable of its environment has such a value, or what it read has
    such a fingerprint.
    """

    now: Callable[[], datetime]
    store: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    state: str = "/run/keyturn/state.json"
    reading: int = 1
    slow: int = 1
    stopping: int = 3
    refuses: set[str] = field(default_factory=set)
    stalls: set[str] = field(default_factory=set)  # is never ready with such a value
    files: dict[str, File] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    _end: Callable[[int], None] | None = None
    _looks: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def health(self) -> str:  # type: ignore[override]
        return "healthy" if self._end is not None and self.looked_at() else "starting"

    @property
    def _up(self) -> bool:
        return self._looks >= self.reading + self.slow and not self.stalls & set(self.given.values())

    async def start(self, environment: Mapping[str, str], address: str, ended: Callable[[int], None]) -> None:
        self.given, self._end, self._looks = dict(environment), ended, 0
        self._over = asyncio.Event()
        read = {each["fingerprint"] for each in self.store.values()}
        if self.refuses & (set(environment.values()) | read):
            self.ends(3)

    async def stop(self, seconds: float) -> None:
        over = self._over
        for _ in range(self.stopping):
            await asyncio.sleep(0)
        if not over.is_set():
            self.ends(0)

    def ends(self, code: int) -> None:
        """By itself, or told to."""
        self._over.set()
        end, self._end = self._end, None
        if end is not None:
            end(code)

    def looked_at(self) -> bool:
        """Somebody asks whether it is ready, or looks for its file: time goes on."""
        self._looks += 1
        if self._looks == self.reading and self.store:
            document = {"pid": 1, "started": 1, "credentials": self.store}
            self.files[self.state] = (json.dumps(document).encode(), self.now())
        return self._up

    def read(self, path: str) -> File | None:
        if path == self.state and self._end is not None:
            self.looked_at()
        return self.files.get(path)

    def has(self, folder: str) -> bool:
        return folder == self.state.rpartition("/")[0]

    def write(self, folder: str, name: str, content: bytes) -> None:
        self.files[f"{folder}/{name}"] = (content, self.now())

    async def forget(self) -> None:
        self._end = None


class Process(Program):
    """A process of this machine. `{address}` and `{root}` in its command stand for the address that its container has, on
    loopback, and for the folder of its files."""

    def __init__(self, command: list[str], root: Path) -> None:
        self._command, self._root = command, root
        self._process: asyncio.subprocess.Process | None = None
        self._over = asyncio.Event()
        self._waiter: asyncio.Task[None] | None = None

    async def start(self, environment: Mapping[str, str], address: str, ended: Callable[[int], None]) -> None:
        words = [each.replace("{address}", address).replace("{root}", str(self._root)) for each in self._command]
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), **environment},
                start_new_session=True,
            )
        self.pid, self._over = self._process.pid, asyncio.Event()
        self._waiter = asyncio.create_task(self._wait(self._process, self._over, ended))

    async def _wait(self, process: asyncio.subprocess.Process, over: asyncio.Event, ended: Callable[[int], None]) -> None:
        code = await process.wait()
        over.set()
        ended(code if code >= 0 else 128 - code)

    async def stop(self, seconds: float) -> None:
        over = self._over
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(over.wait(), seconds)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await over.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def forget(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._signal(signal.SIGKILL)
            await self._over.wait()

    def read(self, path: str) -> File | None:
        file = self._root / path.lstrip("/")
        if not file.is_file():
            return None
        return file.read_bytes(), datetime.fromtimestamp(file.stat().st_mtime, UTC)

    def has(self, folder: str) -> bool:
        return (self._root / folder.lstrip("/")).is_dir()

    def write(self, folder: str, name: str, content: bytes) -> None:
        (self._root / folder.lstrip("/") / name).write_bytes(content)
