"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress


def until_true(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return when the condition holds; a file that is not there yet is waited for. AssertionError when it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if condition():
                return
        time.sleep(0.02)
    raise AssertionError("it did not happen")
