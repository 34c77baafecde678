"""The files of an audit log: the one that is written, and those that were put aside, each begun where the one before ends.

`audit.jsonl` is written; `audit.jsonl.000000000123` was put aside when its last record was number 123.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_DIGITS = 12
_WINDOW = 65536  # bytes, doubled until a whole line is in it


def aside(path: Path, number: int) -> Path:
    """The name of a file that ends with this record."""
    return path.with_name(f"{path.name}.{number:0{_DIGITS}d}")


def files_of(path: Path) -> list[Path]:
    """Those that are there, oldest first."""
    named = re.compile(rf"{re.escape(path.name)}\.[0-9]{{{_DIGITS}}}")
    there = path.parent.iterdir() if path.parent.is_dir() else ()
    return [*sorted(each for each in there if named.fullmatch(each.name)), *([path] if path.exists() else [])]


def last_line(file: int) -> tuple[bytes, bytes]:
    """The last whole line of an open file, and what stands after it: nothing, unless a write was cut short. b"" for none."""
    size, window = os.fstat(file).st_size, _WINDOW
    while True:
        start = max(0, size - window)
        content = os.pread(file, size - start, start)
        whole, end, rest = content.rpartition(b"\n")
        if start == 0 or (end and b"\n" in whole):
            return whole.rpartition(b"\n")[2], rest
        window *= 2


def synced(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
