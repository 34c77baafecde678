"""How much is taken from whom: so many requests a minute, and nothing signed a second time. In memory, with bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

_MOST_NONCES = 50_000
_MOST_BUCKETS = 1_000


class Rates:
    """Token buckets: `a_minute` at once, and as many anew each minute. `seconds`: a clock that only goes forward."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, a_minute: int) -> float | None:
        """Take one. None: taken; else the seconds until there is one again, and nothing is taken."""
        now = self._seconds()
        left, since = self._buckets.pop(name, (float(a_minute), now))
        left = min(float(a_minute), left + (now - since) * a_minute / 60)
        self._buckets[name] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return None if left >= 1 else (1 - left) * 60 / a_minute


class Replays:
    """Signed requests that have been seen. One that is older, or from later, than `window` is refused whatever it is."""

    def __init__(self, now: Callable[[], datetime], window: timedelta) -> None:
        self._now = now
        self._window = window
        self._seen: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def is_new(self, caller: str, at: datetime, once: str) -> bool:
        """Whether this is the first time, within the window. It is remembered as long as its time would let it in again.

        Where more come than can be remembered, the new ones are refused: none is forgotten early.
        """
        now = self._now()
        for key in [key for key, until in self._seen.items() if until <= now]:
            del self._seen[key]
        if abs(now - at) >= self._window or (caller, once) in self._seen or len(self._seen) >= _MOST_NONCES:
            return False
        self._seen[caller, once] = at + self._window
        return True
