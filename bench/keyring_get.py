"""What a read of a key costs: `KeyRing.get` beside the lock and dict of the usual guide, eight threads reading at once."""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.guides.locked_cache import LockedCache
from keyturn.delivery.keyring import KeyRing
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef

THREADS = 8
READS = 40_000  # by each thread, in a round
ROUNDS = 15
NAME = "OPENAI_API_KEY"


def measure() -> Mapping[str, Any]:
    material = KeyMaterial("sk-" + secrets.token_hex(24))

    async def read() -> HeldKey:
        return HeldKey(VersionRef("1", material.fingerprint()), material)

    guide = LockedCache(lambda name: material.reveal())
    with KeyRing({NAME: read}) as ring:
        rounds = [_round(ring.get, guide.get, turned=bool(n % 2)) for n in range(ROUNDS + 1)][1:]  # the first warms up
    return {
        "keyring_get_ratio": round(statistics.median(ours / theirs for ours, theirs in rounds), 3),
        "keyring_get_nanoseconds": {
            "keyring": round(statistics.median(ours for ours, _ in rounds)),
            "guide": round(statistics.median(theirs for _, theirs in rounds)),
        },
    }


def page(results: Mapping[str, Any]) -> str:
    if "keyring_get_ratio" not in results:
        return ""
    times = results["keyring_get_nanoseconds"]
    return (
        "## A read of a key\n\n"
        f"`KeyRing.get` takes {results['keyring_get_ratio']} of the time of the usual guide's dict behind a lock "
        f"({times['keyring']} and {times['guide']} ns a read, {THREADS} threads at once, median of {ROUNDS} rounds).\n"
    )


def _round(ours: Callable[[str], str], theirs: Callable[[str], str], turned: bool) -> tuple[float, float]:
    """Nanoseconds a read, of each; whoever goes first changes from round to round."""
    if turned:
        second = _nanoseconds(theirs)
        return _nanoseconds(ours), second
    return _nanoseconds(ours), _nanoseconds(theirs)


def _nanoseconds(get: Callable[[str], str]) -> float:
    go = threading.Barrier(THREADS + 1)

    def reader() -> None:
        go.wait()
        for _ in range(READS):
            get(NAME)

    threads = [threading.Thread(target=reader) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    go.wait()
    begun = time.perf_counter_ns()
    for thread in threads:
        thread.join()
    return (time.perf_counter_ns() - begun) / (THREADS * READS)
