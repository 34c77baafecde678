"""The program: see the package's text. Exit code 0 when all is well, 1 when not."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
from pathlib import Path

from rich.console import Console

from tests.chaos.campaign import Campaign
from tests.chaos.plan import SIZES, Plan


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Rotations under every fault, judged.")
    parser.add_argument("--size", choices=SIZES, default="ci")
    parser.add_argument("--seed", type=int, default=None, help="plays the same cases again")
    parser.add_argument("--only", default="", metavar="TEXT", help="of the cases, those whose line has this text in it")
    parser.add_argument("--folder", type=Path, default=Path("var/chaos"))
    asked = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    sys.stderr.write(f"chaos, size {asked.size}: --seed {seed}\n")
    shutil.rmtree(asked.folder, ignore_errors=True)
    asked.folder.mkdir(parents=True)
    # As for Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    report = asyncio.run(Campaign(Plan(SIZES[asked.size], seed), asked.folder.resolve(), asked.only).run())
    report.show(Console(width=None if sys.stdout.isatty() else 200))
    sys.stdout.write(f"{report.write(asked.folder)}\n")
    return 0 if report.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
