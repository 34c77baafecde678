"""Orders that wait for a render: what was asked for, and for how long already.

Nobody here looks at the file by itself. Who ordered the roll asks again and again, and each time the file is read anew. So
a member is never restarted for an order that its roller has given up, and an order that waits holds up no other one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from keyturn.durations import text
from keyturn.errors import UnavailableError

_FORGOTTEN = 60.0  # seconds without a question: its roller is gone, and whoever asks next waits anew


@dataclass(slots=True)
class _Order:
    fingerprint: str
    since: float
    asked: float


class Renders:
    """The orders that wait, by credential. `clock` is time.monotonic; a test turns it itself."""

    def __init__(self, limit: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._orders: dict[str, _Order] = {}

    @property
    def waiting(self) -> Mapping[str, str]:
        """The fingerprint that is waited for, by credential."""
        now = self._clock()
        return {name: order.fingerprint for name, order in self._orders.items() if now - order.asked < _FORGOTTEN}

    def wait(self, credential: str, fingerprint: str, why: str) -> None:
        """The order was asked for and cannot be carried out yet. UnavailableError once it has waited for `limit`."""
        now = self._clock()
        order = self._orders.get(credential)
        if order is None or order.fingerprint != fingerprint or now - order.asked >= _FORGOTTEN:
            order = self._orders[credential] = _Order(fingerprint, now, now)
        order.asked = now
        if now - order.since >= self.limit.total_seconds():
            del self._orders[credential]
            raise UnavailableError(
                f"the new key of {credential} was not rendered within {text(self.limit)}: {why}",
                remedy="look at the log of what renders the file; how often it looks must be less than --render-timeout",
            )

    def over(self, credential: str) -> None:
        """It need not wait any more."""
        self._orders.pop(credential, None)
