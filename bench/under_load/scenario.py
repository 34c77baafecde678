"""One scenario: an installation, load on it, a roll in the midst of the load, and what became of each request."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.under_load.fleet import Fleet, Making, Way
from bench.under_load.load import Answered, Load, failures

WARM_REQUESTS, WARM_PER_SECOND = 16, 2.0
LEAD, TAIL = 5.0, 10.0  # seconds of load before the roll and after it, at the least


@dataclass(frozen=True, slots=True)
class Seen:
    """What one scenario showed. `roll`: when the roll began and ended, in seconds after the first request."""

    answered: tuple[Answered, ...]
    roll: tuple[float, float]
    new_key: str

    @property
    def failed(self) -> int:
        return sum(1 for each in self.answered if each.failure)

    def told(self) -> dict[str, Any]:
        """For results.json."""
        good = sorted(each.seconds for each in self.answered if not each.failure and not each.asked.long)
        begun, ended = self.roll
        return {
            "requests": len(self.answered),
            "streams": sum(1 for each in self.answered if each.asked.streamed),
            "long": sum(1 for each in self.answered if each.asked.long),
            "in_the_roll": sum(1 for each in self.answered if begun <= each.begun <= ended),
            "failed": self.failed,
            "failures": failures(list(self.answered)),
            "roll_seconds": round(ended - begun, 1),
            "short_p50_seconds": round(good[len(good) // 2], 3) if good else None,
            "short_p99_seconds": round(good[int(len(good) * 0.99)], 3) if good else None,
        }


def run(making: Making, folder: Path, way: Way, members: int, requests: int, per_second: float) -> Seen:
    """RuntimeError: the installation does not come up, or the roll did not do what it was to do."""
    fleet = making(folder, way, members)
    try:
        fleet.start()
        return asyncio.run(_loaded(fleet, requests, per_second))
    finally:
        fleet.stop()


async def warm(fleet: Fleet) -> None:
    """A proxy's first call takes a second or more, and is no figure of a roll."""
    load = Load(fleet.url, fleet.master_key, WARM_PER_SECOND, fleet.keeps_connections)
    async with load.running():
        await load.until(WARM_REQUESTS)
    if bad := failures(load.answered):
        raise RuntimeError(f"requests failed before any roll: {bad}")


async def _loaded(fleet: Fleet, requests: int, per_second: float) -> Seen:
    await warm(fleet)
    load = Load(fleet.url, fleet.master_key, per_second, fleet.keeps_connections)
    async with load.running():
        start = time.monotonic()
        await asyncio.sleep(LEAD)
        begun = time.monotonic() - start
        # A thread of its own: no request is late because the roll is at work.
        new_key = await asyncio.to_thread(fleet.turn)
        ended = time.monotonic() - start
        await asyncio.sleep(TAIL)
        await load.until(requests)
    seen = Seen(tuple(sorted(load.answered, key=lambda each: each.begun)), (begun, ended), new_key)
    for each in seen.answered:
        if each.failure:
            what = f"{'long ' * each.asked.long}{'stream' if each.asked.streamed else 'answer'} {each.asked.number}"
            print(f"    {each.begun:7.1f} s: {what}: {each.failure} after {each.seconds:.1f} s", file=sys.stderr)
    check(seen)
    return seen


def check(seen: Seen) -> None:
    """What is measured is a roll: whoever asks after it is answered with the new key, and before it with the other."""
    before = {each.key for each in seen.answered if each.key and each.begun < seen.roll[0]}
    after = {each.key for each in seen.answered if each.key and each.begun > seen.roll[1]}
    if seen.new_key in before or after != {seen.new_key}:
        raise RuntimeError("the members did not come to the new key")
