"""Durations as people write them: `90s`, `10m`, `24h`, `30d`, `2w`, also joined (`1d12h`)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]{1,12})([smhdw])")
PATTERN = r"^([0-9]{1,12}[smhdw])+$"
_LONGEST = timedelta(days=36500)  # more is a slip, and would not fit into a date
_REFUSAL = "must be a duration such as 90s, 10m, 24h, 30d or 1d12h, and no longer than 36500d"


def parse(text: str) -> timedelta:
    """The duration. ValueError, which does not quote it, for any other text; `0s` is zero."""
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    if not re.fullmatch(PATTERN, text) or seconds > _LONGEST.total_seconds():
        raise ValueError(_REFUSAL)
    return timedelta(seconds=seconds)


def text(duration: timedelta) -> str:
    """The shortest text that `parse` reads back, whole seconds only, without weeks."""
    seconds, parts = int(duration.total_seconds()), []
    for unit in "dhms":
        count, seconds = divmod(seconds, _SECONDS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def _validate(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    raise ValueError(_REFUSAL)


Duration = Annotated[timedelta, BeforeValidator(_validate)]
"""A pydantic field type."""
