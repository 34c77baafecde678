"""Where the `keyturn` program begins: the plainest start of a program takes a short way, all else the command line.

Imports nothing: what is imported here, every start of every container waits for.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the `keyturn` program."""
    words = sys.argv[1:]
    if "exec" in words[:3] and "--control" not in words:
        from keyturn.delivery.lean.start import attempt

        attempt(words)
    from keyturn.cli import main as command_line

    command_line()
