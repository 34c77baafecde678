"""Files that are replaced as a whole, by one writer at a time, and only if they are still as they were read.

A writer holds a lock (flock) on a file that is never removed: it dies with its process, so nothing stale is left. Readers
need none: they see the old file or the new one. Each replacement is on the disk before it is seen, and has a number of its
own: the time of its writing in nanoseconds, later than the one before, its inode and a digest. What it had beside its
content it keeps: owner, mode, and all that is listed as its extended attributes, of which an access list is one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.file_lock import try_lock

LARGEST = 1024 * 1024  # bytes
_POLL = 0.01  # seconds between two tries to get the lock
_ACCESS_LIST = "system.posix_acl_access"
_OF_THE_CONTENT = ("security.ima", "security.evm")  # the kernel's own, another one for each content

effect: Callable[[str], None] = lambda name: None  # noqa: E731
"""Called before each change of the disk, with its name: where a test lets a process die."""


class BusyError(Exception):
    """The lock is held by somebody else, for longer than one waits."""


class TooLargeError(Exception):
    """The file is larger than any that is meant."""


class LinkError(Exception):
    """There is a symbolic link, or something else that is no file, where the file should be."""


class FolderError(Exception):
    """The folder that should be ours alone belongs to somebody else, is open to others, or is a link."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was read. `number`: "" where there is none."""

    number: str = ""
    content: bytes = field(default=b"", repr=False)
    mode: int = 0o600
    owner: tuple[int, int] | None = None
    written: int = 0  # nanoseconds since 1970
    attributes: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def read(path: Path) -> Found:
    """OSError, TooLargeError, LinkError. It does not wait, whatever stands there."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
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
        attributes = _attributes(file)
    if len(content) > LARGEST:
        raise TooLargeError
    digest = hashlib.sha256(content).hexdigest()[:12]
    number = f"{status.st_mtime_ns}-{status.st_ino}-{digest}"
    owner = (status.st_uid, status.st_gid)
    return Found(number, content, stat.S_IMODE(status.st_mode), owner, status.st_mtime_ns, attributes)


def replace(path: Path, seen: Found, content: bytes, scratch: Path) -> str:
    """Put this content there; the new number. To be called with the lock. `scratch`: a name in the same file system.

    Owner, mode and attributes stay as they were. OSError, also where one of them cannot be kept: then the file is as it
    was, and there is no scratch, unless it was the last step that failed, which makes sure of what is done already.
    """
    effect("write")
    with suppress(FileNotFoundError):
        scratch.unlink()  # of a process that died
    try:
        _make(scratch, seen, content)
        effect("rename")
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise
    effect("sync")
    _sync(path.parent)
    return read(path).number


def make_folder(path: Path, *, with_parents: bool = False) -> None:
    """For its owner alone. Quiet when it is there, and is so: else FolderError. OSError."""
    if with_parents and not path.parent.is_dir():
        make_folder(path.parent, with_parents=True)
    if not os.path.lexists(path):
        effect("mkdir")
        path.mkdir(mode=0o700, exist_ok=True)
        effect("sync")
        _sync(path.parent)
    status, user = path.lstat(), os.geteuid()
    owners = (user, path.parent.stat().st_uid) if user == 0 else (user,)
    if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in owners:
        raise FolderError


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """The lock, waited for up to so long. BusyError, OSError."""
    deadline = time.monotonic() + seconds
    while (file := _lock(path)) is None:
        if time.monotonic() > deadline:
            raise BusyError
        time.sleep(_POLL)
    try:
        yield
    finally:
        os.close(file)


def _make(path: Path, seen: Found, content: bytes) -> None:
    """A new file, which is on the disk and looks like the one that was seen."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        effect("fill")
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        effect("dress")
        _dress(file, seen)
        now = max(time.time_ns(), seen.written + 1)
        os.utime(file, ns=(now, now))
        os.fsync(file)
    finally:
        os.close(file)


def _dress(file: int, seen: Found) -> None:
    """Not what the folder gives to new files: its group, or its access list."""
    status, has = os.fstat(file), _attributes(file)
    if seen.owner not in (None, (status.st_uid, status.st_gid)):
        os.fchown(file, *(seen.owner or ()))
    if _ACCESS_LIST in has and _ACCESS_LIST not in seen.attributes:
        os.removexattr(file, _ACCESS_LIST)
    os.fchmod(file, seen.mode)
    for name, value in seen.attributes.items():
        if has.get(name) != value:
            os.setxattr(file, name, value)


def _attributes(file: int) -> Mapping[str, bytes]:
    """Empty in a file system that has none."""
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file) if name not in _OF_THE_CONTENT}
    except OSError as failure:
        if failure.errno == errno.ENOTSUP:
            return {}
        raise


def _lock(path: Path) -> int | None:
    """The file, open and locked; None: not now. One that was removed meanwhile, with its folder, locks nobody out."""
    if not os.path.lexists(path):
        effect("lock")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if try_lock(file) and os.path.samestat(os.fstat(file), path.lstat()):
            return file
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
