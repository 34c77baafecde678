"""What a declared path leads to in an answer, read strictly; what is not there is told by its setting, never by a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from keyturn.json_object import UnreadableError, plain_id
from keyturn.providers.fields import iso, unix
from keyturn.providers.json_paths import JsonPath, json_path

_LONGEST = 2000  # characters of a refusal's message that are looked at
_T = TypeVar("_T")


class NotThereError(UnreadableError):
    """`setting`: which of ours leads to nothing usable."""

    def __init__(self, setting: str) -> None:
        super().__init__()
        self.setting = setting


def at(document: Any, setting: str, path: str | None, read: Callable[[Any], _T]) -> Any:
    """What `read` makes of what stands there; for a path with [*], of the list. None where no path is declared."""
    if path is None:
        return None
    way = json_path(path, many="[*]" in path)
    try:
        return read(way.values(document) if way.is_many else way.value(document))
    except UnreadableError:
        raise NotThereError(setting) from None


def declared_id(value: Any) -> str:
    """Some vendors count their keys."""
    return plain_id(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def scalar(path: JsonPath, document: Mapping[str, Any]) -> str:
    """A code or a message, as text; "" where there is none."""
    try:
        found = path.value(document)
    except UnreadableError:
        return ""
    return str(found)[:_LONGEST] if isinstance(found, str | int) and not isinstance(found, bool) else ""


def time_reader(times: str) -> Callable[[Any], datetime | None]:
    """A text is RFC 3339, a number what `times` says; null, as vendors have it for never, is None."""

    def read(value: Any) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return iso(value)
        if times == "milliseconds" and isinstance(value, int | float) and not isinstance(value, bool):
            return unix(value / 1000)
        return unix(value)

    return read
