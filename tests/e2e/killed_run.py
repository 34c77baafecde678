"""`keyturn rotate`, killed with SIGKILL at the first line of its timeline that fits: killed_run.py NAME STEP WORDS."""

from __future__ import annotations

import os
import signal
import sys

from keyturn import progress
from keyturn.assembly import Line
from keyturn.commands.rotate import rotate

name, step, words = sys.argv[1:]


def kill(line: Line) -> None:
    if line.step == step and words in line.sentence:
        os.kill(os.getpid(), signal.SIGKILL)


progress.listeners.append(kill)
rotate(name, "manual", None, dry_run=False, wait=False, as_json=False)
