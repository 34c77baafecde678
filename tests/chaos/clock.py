"""The time of a world where a run would have to wait for hours: there they go by at once.

A file says how much later than by this machine's clock it is. The world's workers, its vendor and the driver read it each
time that they ask for the time: a worker that was asleep meanwhile wakes up hours later, as it would.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from importlib import import_module
from pathlib import Path

VARIABLE = "CHAOS_CLOCK"  # tells a worker its world's file; not set where the time is this machine's

_LONG = timedelta(minutes=1)  # what is shorter is slept
_TELL_TIME = ("keyturn.assembly", "keyturn.providers.vendor")  # the modules that ask the machine for it
_TELL_WHEN_ASKED = ("flows.rotate", "flows.retire")  # those that ask Prefect since when a run was asked for


class Clock:
    """`time`: seconds since 1970. `now`: the same, in UTC. Both go on, and never back."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def later(self) -> float:
        """Than by this machine's clock, in seconds."""
        try:
            return float(self.file.read_text())
        except FileNotFoundError:
            return 0.0

    def time(self) -> float:
        return time.time() + self.later()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def forward(self, by: timedelta) -> None:
        """So much time has gone by."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(f".{os.getpid()}")
        fresh.write_text(str(self.later() + by.total_seconds()))
        fresh.replace(self.file)


_own: Clock | None = None


def tell(file: str | None) -> None:
    """From now on in this process, it is as late as the file says."""
    global _own
    if file is None:
        return
    clock = _own = Clock(Path(file))

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one: it is compared
            return clock.now().astimezone(tz)

    def asked(by_prefect: Callable[[], datetime]) -> Callable[[], datetime]:
        return lambda: by_prefect() + timedelta(seconds=clock.later())

    for name in _TELL_TIME:
        vars(import_module(name))["datetime"] = Later
    for name in _TELL_WHEN_ASKED:
        module = vars(import_module(name))
        module["asked_at"] = asked(module["asked_at"])


def wait(until: datetime) -> None:
    """Until a second after this moment."""
    now = datetime.now(UTC) if _own is None else _own.now()
    left = max(timedelta(0), until - now) + timedelta(seconds=1)
    if _own is not None and left > _LONG:
        _own.forward(left)
    else:
        time.sleep(left.total_seconds())
