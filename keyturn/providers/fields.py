"""What stands in a vendor's answer, read strictly: UnreadableError for what is not of the form that it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from keyturn.json_object import UnreadableError, iso, mapping, plain_id, text
from keyturn.key_shapes import is_opaque, masked
from keyturn.material import KeyMaterial

_LAST_SECOND = 2**33  # in the year 2242: milliseconds, and other numbers that are no times, are later


def key_text(value: Any) -> KeyMaterial:
    """The text of a new key."""
    try:
        return KeyMaterial(text(value))
    except ValueError:
        pass
    raise UnreadableError


def name_of(value: Any) -> str:
    """A key's name; "" where it has none. What looks like a key in it is masked."""
    return masked(text(value)) if value else ""


def hint_of(value: Any) -> str:
    """A hint leaves something out. What does not, and looks like a key, may be the whole of one: also of a vendor's whose
    keys have no form."""
    found = text(value) if value else ""
    if any(filler in found for filler in ("...", "\u2026", "*")):
        return found
    return "***" if is_opaque(found) else masked(found)


def items(value: Any) -> Sequence[Mapping[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list):
        raise UnreadableError
    return [mapping(each) for each in value]


def optional_iso(value: Any) -> datetime | None:
    return iso(value) if value else None


def unix(value: Any) -> datetime:
    """Seconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:  # false for NaN
        raise UnreadableError
    return datetime.fromtimestamp(value, UTC)


def optional_unix(value: Any) -> datetime | None:
    return None if value is None else unix(value)


def rfc3339(moment: datetime) -> str:
    """A time as vendors take it: in UTC, whole seconds, with a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "hint_of",
    "iso",
    "items",
    "key_text",
    "mapping",
    "name_of",
    "optional_iso",
    "optional_unix",
    "plain_id",
    "rfc3339",
    "text",
    "unix",
]
