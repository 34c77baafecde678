"""A fault of ours, told without its text, which may hold anything: a vendor's answer, an argument, a key."""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parent
_SOURCE = ("flows", "tasks")  # deploy-time source: wherever the project stands


def describe(error: BaseException) -> str:
    """Its type, with the file and line of the innermost frame of ours (else of any)."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_ours(Path(frame.filename))] or frames
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}"


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE) or path.parent.name in _SOURCE
