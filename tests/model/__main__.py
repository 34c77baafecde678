"""Go on playing for a while, in two processes: `python -m tests.model [--seconds N] [--seed N]`.

Ends with 1 and the shortest history that goes wrong, which the seed it names plays again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.model.play import play

BATCH = 500
PROCESSES = 2


def soak(seconds: float, seeded: int) -> int:
    """How many histories were played."""
    played, deadline = 0, time.monotonic() + seconds
    with ProcessPoolExecutor(PROCESSES) as pool:
        while time.monotonic() < deadline:
            seeds = range(seeded, seeded + PROCESSES)
            for number, batch in zip(seeds, [pool.submit(play, BATCH, number) for number in seeds], strict=True):
                try:
                    played += batch.result()
                except BaseException:
                    print(f"seed {number} of batches of {BATCH}", file=sys.stderr)
                    raise
            seeded += PROCESSES
            print(f"{played} histories, next seed {seeded}", flush=True)
    return played


def main() -> None:
    """Parse what was typed."""
    parser = argparse.ArgumentParser(prog="tests.model", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    words = parser.parse_args()
    print(f"seed {words.seed}")
    print(f"{soak(words.seconds, words.seed)} histories from seed {words.seed}, nothing wrong")


if __name__ == "__main__":
    main()
