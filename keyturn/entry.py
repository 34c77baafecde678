"""Where the `keyturn` program begins: the plainest start of a program takes a short way, all else the command line.

Imports nothing: what is imported here, every start of every container waits for.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The entry point of the `keyturn` program."""
    words = sys.argv[1:]
    if "exec" in words[:3]:
        _before_exec(words)
    from keyturn.cli import main as command_line

    command_line()


def _before_exec(words: list[str]) -> None:
    options = words[: words.index("--")] if "--" in words else words
    if not any(word == "--control" or word.startswith("--control=") for word in options):
        from keyturn.delivery.lean.start import attempt

        attempt(words)
    elif os.getpid() == 1:
        from keyturn.delivery.init import stand_aside

        stand_aside()
