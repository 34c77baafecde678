"""Files that are replaced as a whole, by one writer at a time, and only if they are still as they were read.

A writer holds a lock (flock) on a file that is never removed: it dies with its process, so nothing stale is left. Readers
need none: they see the old file or the new one. Each replacement is on the disk before it is seen, and has a number of its
own: the time of its writing in nanoseconds, later than the one before, its inode and a digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 1024 * 1024  # bytes
_POLL = 0.01  # seconds between two tries to get the lock

effect: Callable[[str], None] = lambda name: None  # noqa: E731
"""Called before each change of the disk, with its name: where a test lets a process die."""


class BusyError(Exception):
    """The lock is held by somebody else, for longer than one waits."""


class TooLargeError(Exception):
    """The file is larger than any that is meant."""


class LinkError(Exception):
    """There is a symbolic link, or something else that is no file, where the file should be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was read. `number`: "" where there is none."""

    number: str = ""
    content: bytes = field(default=b"", repr=False)
    mode: int = 0o600
    owner: tuple[int, int] | None = None
    written: int = 0  # nanoseconds since 1970


def read(path: Path) -> Found:
    """OSError, TooLargeError, LinkError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return Found()
    except OSError:
        if path.is_symlink():
            raise LinkError from None
        raise
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise LinkError
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TooLargeError
    digest = hashlib.sha256(content).hexdigest()[:12]
    number = f"{status.st_mtime_ns}-{status.st_ino}-{digest}"
    return Found(number, content, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), status.st_mtime_ns)


def replace(path: Path, seen: Found, content: bytes, scratch: Path) -> str:
    """Put this content there; the new number. To be called with the lock. `scratch`: a name in the same file system.

    Mode and owner stay as they were. OSError.
    """
    effect("write")
    file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as opened:
        os.fchmod(file, 0o600)  # a scratch that was left over may have another
        opened.write(content)
        opened.flush()
        if seen.owner is not None:
            if seen.owner != (os.geteuid(), os.getegid()):
                os.fchown(file, *seen.owner)
            os.fchmod(file, seen.mode)
        now = max(time.time_ns(), seen.written + 1)
        os.utime(file, ns=(now, now))
        os.fsync(file)
    effect("rename")
    scratch.replace(path)
    effect("sync")
    _sync(path.parent)
    return read(path).number


def make_folder(path: Path, *, with_parents: bool = False) -> None:
    """For its owner alone. Quiet when it is there."""
    if with_parents and not path.parent.is_dir():
        make_folder(path.parent, with_parents=True)
    if not path.is_dir():
        effect("mkdir")
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """The lock, waited for up to so long. BusyError, OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise BusyError
            time.sleep(_POLL)
        yield
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
