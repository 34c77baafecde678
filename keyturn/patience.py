"""When a credential whose runs fail is tried again by itself, and when it is left to a person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses double from `first` to `longest`, each a quarter longer or shorter. After `park_after` failures: parked.

    The jitter is made of the failure itself: different for each credential, so that a store that comes back is not met by
    all at once, and the same for every worker that looks.
    """

    first: timedelta = timedelta(minutes=5)
    longest: timedelta = timedelta(hours=6)
    park_after: int = 5

    def next_try(self, failures: int, failed_at: datetime, salt: str) -> datetime:
        """From when on the next run is begun by itself. `salt`: what tells this credential from others."""
        pause = min(self.first * int(2 ** min(failures - 1, 20)), self.longest)
        digest = hashlib.sha256(f"{salt}/{failures}/{failed_at.isoformat()}".encode()).digest()
        return failed_at + pause * (0.75 + digest[0] / 510)
