"""What would stop a file from being replaced by another one of its name: found before a key is made for it.

A rename says it only when it is tried, and then the new key is there already.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS, of 64 bits
_FIXED = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL
_OCTAL = re.compile(r"\\([0-7]{3})")


def obstacle(path: Path) -> tuple[str, str] | None:
    """What it is, and what to do about it; None where nothing is seen. The folder is not looked at."""
    try:
        status = path.lstat()
    except OSError:
        return None  # who reads it tells why
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_nlink > 1:
        return "it has other names (hard links), which would keep the old key", "leave it one name"
    if _is_mounted(path):
        return "it is mounted by itself", "mount the folder, not the file alone"
    if _is_fixed(path):
        return "it is immutable or append-only", "chattr -ia, as root"
    if os.geteuid() not in (status.st_uid, 0):
        return "it belongs to another user, and would not any more", "run keyturn as the owner of the file"
    if os.geteuid() != 0 and status.st_gid not in (os.getegid(), *os.getgroups()):
        return "its group is none of this user's, and could not be kept", "put the user into that group"
    return None


def _is_mounted(path: Path) -> bool:
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    place = str(path.parent.resolve() / path.name)
    return any(_OCTAL.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4]) == place for line in lines)


def _is_fixed(path: Path) -> bool:
    """False where the file system does not say."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        flags = fcntl.ioctl(file, _GET_FLAGS, bytes(8))
    except OSError:
        return False
    finally:
        os.close(file)
    return bool(int.from_bytes(flags[:4], "little") & _FIXED)
