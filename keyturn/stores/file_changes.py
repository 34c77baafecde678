"""Whether a file has become another one: by a look at it, again and again.

A look costs microseconds, and needs nothing but `stat`: so it works on every file system, in every container, for every
writer, and for a file that is not there. inotify does not tell of what another machine, or the host of a bind mount, wrote.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from keyturn.own_thread import in_own_thread

LOOK = 0.5  # seconds between two looks
_YOUNG = 2_000_000_000  # nanoseconds: longer than the steps in which any file system counts time

Mark = tuple[int, ...]


def mark(path: Path) -> Mark:
    """Another one after each change, at the latest two seconds later. It raises nothing: no file has a mark, too.

    Two writes within one step of the file system's clock may leave the same times. So a file that was changed just now has
    another mark once it is older, and whoever looked in between looks again.
    """
    try:
        found = path.lstat()
    except OSError as error:
        return (error.errno or 0,)
    young = time.time_ns() - found.st_ctime_ns < _YOUNG
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, young


async def another(path: Path, seen: Mark) -> None:
    """Return when the file has another mark than this one, also when it has it already. Cancel it to stop waiting."""
    over = threading.Event()

    def look() -> None:
        while mark(path) == seen:
            if over.wait(LOOK):
                return

    await in_own_thread(look, over.set, "keyturn-file-changes")
