"""Small regular files, read whole. A pipe is left alone: what is read out of it is gone, and the full path would miss it."""

from __future__ import annotations

import os
import stat

from keyturn.delivery.lean.declined import Declined


def file_bytes(path: str, largest: int) -> bytes:
    """Declined for anything but a regular file of at most so many bytes."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # pathlib takes longer
        raise Declined
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read(largest + 1)
    if len(content) > largest:
        raise Declined
    return content
