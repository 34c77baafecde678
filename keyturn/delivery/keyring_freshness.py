"""How fresh a key ring keeps its keys, and how stale it lets them become."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import inf

from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, HeldToken, VersionRef

# Linux: it goes on while the machine sleeps, which time.monotonic does not.
elapsed: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


@dataclass(frozen=True, slots=True)
class Freshness:
    """`interval`: between two reads of a key, each time up to `jitter` (a fraction) longer or shorter.

    `floor`: `refresh()` reads no key more often. `patience`: for one read. After `warn_after` without a word from the
    store a warning is logged, again and again at that pace; after `max_staleness` the key is given out no more (None: it
    always is). MisconfiguredError for times that do not fit.
    """

    interval: timedelta = timedelta(minutes=1)
    jitter: float = 0.1
    floor: timedelta = timedelta(seconds=2)
    patience: timedelta = timedelta(seconds=20)
    warn_after: timedelta = timedelta(minutes=10)
    max_staleness: timedelta | None = timedelta(hours=24)

    def __post_init__(self) -> None:
        zero = timedelta(0)
        for fits, sentence in (
            (zero < self.floor <= self.interval, "floor must be above 0, and not longer than interval"),
            (0 <= self.jitter < 1, "jitter is a fraction: 0 or more, and below 1"),
            (zero < self.patience, "patience must be above 0"),
            (zero < self.warn_after, "warn_after must be above 0"),
            (
                self.max_staleness is None or self.max_staleness > self.interval * (1 + self.jitter) + self.patience,
                "max_staleness must be longer than interval with its jitter, and a read: else a healthy key goes stale",
            ),
        ):
            if not fits:
                raise MisconfiguredError(f"key ring: {sentence}", remedy="see keyturn.delivery.keyring.Freshness")

    @property
    def limit(self) -> float:
        """Seconds after which a key is given out no more."""
        return inf if self.max_staleness is None else self.max_staleness.total_seconds()


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it was last confirmed: when the read began that found it, and until when it is given out.

    Of a token: `due`, from when on the next one is fetched, and `ends`. A token is confirmed by nobody again: its own end is
    its limit.
    """

    material: KeyMaterial
    version: VersionRef
    confirmed: float
    limit: float
    due: float = -inf
    ends: datetime | None = None

    @classmethod
    def of(cls, held: HeldKey, began: float, freshness: Freshness, chance: float = 0.0) -> Entry:
        """`chance`: from 0 to 1, of how much earlier than it has to be a token is replaced."""
        # From the beginning of the read: what the store said is at least as old as that.
        if not isinstance(held, HeldToken):
            return cls(held.material, held.version, began, began + freshness.limit)
        # By how long it lives, and not by the clock on the wall: that may be set, and stands still for nobody.
        usable, rest = (held.last - held.asked).total_seconds(), (held.due - held.asked).total_seconds()
        due = began + rest * (1 - freshness.jitter * chance)
        return cls(held.material, held.version, began, began + usable, due, held.ends)
