"""Taking a file's lock, as every process of this machine respects it. It ends with its process, or when it is closed."""

from __future__ import annotations

import fcntl


def try_lock(file: int) -> bool:
    """Lock an open file for oneself alone, without waiting. False: somebody else has it. OSError: no locks here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
