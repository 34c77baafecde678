"""Durations as people write them: `90s`, `10m`, `24h`, `30d`, `2w`, also joined (`1d12h`)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d+)([smhdw])")
PATTERN = r"^(\d+[smhdw])+$"


def parse(text: str) -> timedelta:
    """The duration. ValueError for anything else; `0s` is zero."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError("must be a duration such as 90s, 10m, 24h, 30d or 1d12h")
    return sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in _PART.findall(text)), timedelta())


def text(duration: timedelta) -> str:
    """The shortest text that `parse` reads back, whole seconds only."""
    seconds, parts = int(duration.total_seconds()), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def _validate(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    raise ValueError("must be a duration such as 90s, 10m, 24h, 30d or 1d12h")


Duration = Annotated[timedelta, BeforeValidator(_validate)]
"""A pydantic field type."""
