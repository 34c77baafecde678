"""A credential's timeline as the log of its run, which Prefect keeps."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from prefect.logging import get_run_logger

from keyturn.assembly import Line

KEPT_SECONDS = 3.0
A_SECOND = 20  # entries of all credentials together: of a thousand at once each is kept the longer


@contextmanager
def logged(*, several_at_a_time: bool) -> Iterator[Callable[[Line], None]]:
    """What logs a line. `several_at_a_time`: those of a moment are one entry, with a time before each: with many
    credentials at once Prefect has more work with an entry of its own for each line than with their rotations."""
    if not several_at_a_time:
        logger = get_run_logger()
        yield lambda line: logger.info("%s: %s", line.step, line.sentence)
        return
    entry = _Entry()
    _Entry.open += 1
    try:
        yield entry.add
    finally:
        _Entry.open -= 1
        entry.log()


class _Entry:
    open: ClassVar[int] = 0  # of credentials that are at work

    def __init__(self) -> None:
        self._logger = get_run_logger()
        self._lines: list[str] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, line: Line) -> None:
        self._lines.append(f"{line.at:%H:%M:%S} {line.step}: {line.sentence}")
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(max(KEPT_SECONDS, _Entry.open / A_SECOND), self.log)

    def log(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._lines:
            self._logger.info("%s", "\n".join(self._lines))
            self._lines.clear()
