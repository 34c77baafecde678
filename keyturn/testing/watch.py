"""Key text in processes' environments and command lines, looked for while they run: a short one is gone at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.testing.leaks import Leak, Needles, descendants

INTERVAL = 0.25  # seconds


class Watch:
    """A thread that looks at every process started by this one, again and again, inside a `with` block.

    `proxies`: the ids of the supervisors. What they have started is where keys belong: there the search must find some
    (`found_in_proxies`), and anywhere else none (`leaks`). `programs`: the command lines that were seen elsewhere.
    A process that lives for less than the interval may be missed.
    """

    def __init__(
        self, needles: Needles, proxies: Callable[[], Collection[int]], each_time: Callable[[], None] = lambda: None
    ) -> None:
        self._needles, self._proxies, self._each_time = needles, proxies, each_time
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._known: dict[tuple[int, str], bytes] = {}
        self.leaks: list[Leak] = []
        self.found_in_proxies = 0
        self.programs: set[str] = set()
        self.looks = 0
        self.failure: BaseException | None = None

    def look(self) -> None:
        """Once, at everything that runs now."""
        parents, supervisors = descendants(os.getpid()), set(self._proxies())
        for pid in parents:
            above = _ancestors(pid, parents)
            for name in ("environ", "cmdline"):
                with suppress(OSError):  # it has ended
                    self._look_at(pid, name, belongs=bool(above & supervisors))
        self.looks += 1

    def _look_at(self, pid: int, name: str, *, belongs: bool) -> None:
        data = Path(f"/proc/{pid}/{name}").read_bytes()
        if self._known.get((pid, name)) == data:
            return
        self._known[pid, name] = data
        words = data.replace(b"\0", b" ").decode(errors="replace").strip()
        if name == "cmdline" and not belongs:
            self.programs.add(words)
        count = self._needles.count(data)
        if count and belongs:
            self.found_in_proxies += 1
        elif count:
            self.leaks.append(Leak(f"{name} of process {pid}", count))

    def _run(self) -> None:
        try:
            while not self._over.wait(INTERVAL):
                self.look()
                self._each_time()
        except BaseException as error:  # told by `__exit__`: a watch that ended early has seen nothing
            self.failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self.failure is not None and error is None:
            raise RuntimeError("the watch has ended early") from self.failure


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found
