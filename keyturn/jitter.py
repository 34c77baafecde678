"""Jitter: how much later than due a rotation begins, so that credentials with one schedule do not all begin at once.

It follows from the credential's name and the time at which it was due, and from nothing else: whoever asks, on whichever
machine, and however often, gets the same answer.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta


def offset(credential: str, due: datetime, jitter: timedelta) -> timedelta:
    """From nothing to `jitter`, in whole seconds, alike likely. `due`: with a time zone."""
    told = f"{credential} {int(due.astimezone(UTC).timestamp())}"
    number = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8])
    return timedelta(seconds=number * (int(jitter.total_seconds()) + 1) >> 64)
