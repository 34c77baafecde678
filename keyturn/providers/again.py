"""Asking a vendor again for work that has only begun: later and later, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds; doubled each time


async def again(patience: timedelta) -> AsyncIterator[None]:
    """One ask after each pause. It ends when the next pause would be over after so long in all."""
    clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
    end = clock() + patience.total_seconds()
    while clock() + pause <= end:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        yield
