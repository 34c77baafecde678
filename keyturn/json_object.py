"""The JSON object in what somebody else wrote, and what stands in it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from keyturn.key_shapes import literal_keys

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def json_object(text: bytes | str) -> dict[str, Any]:
    """It, or an empty one where there is none: never an error, which would carry the text.

    One that names something twice is none: readers differ on which of the two counts. Nor is one with NaN in it.
    """
    try:
        found = json_value(text)
    except UnreadableError:
        return {}
    return found if isinstance(found, dict) else {}


def json_value(text: bytes | str) -> Any:
    """Any JSON. UnreadableError for what is none, for an object that names something twice, and for NaN."""
    with suppress(ValueError, RecursionError):
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    raise UnreadableError  # not inside `except`: the error of json holds the text


def has_half_a_character(text: str) -> bool:
    """Whether a surrogate stands alone in it, as JSON's and YAML's "\\ud800" gives one: no encoding carries it."""
    return _HALF_A_CHARACTER.search(text) is not None


class UnreadableError(Exception):
    """Not of the form that it should have. It carries nothing of what was read."""


def mapping(value: Any) -> dict[str, Any]:
    """The value, which has to be an object."""
    if not isinstance(value, dict):
        raise UnreadableError
    return value


def text(value: Any) -> str:
    """The value, which has to be a text, and not an empty one."""
    if not isinstance(value, str) or not value:
        raise UnreadableError
    return value


def plain_id(value: Any, longest: int = 128) -> str:
    """The value, which has to be a short text in one line. Ids are shown, and logged: what looks like a key is none."""
    found = text(value)
    if len(found) > longest or not found.isprintable() or literal_keys(found):
        raise UnreadableError
    return found


def texts(value: Any) -> dict[str, str]:
    """The value, which has to be an object that holds texts alone."""
    if not all(isinstance(each, str) for each in mapping(value).values()):
        raise UnreadableError
    return mapping(value)


def iso(value: Any) -> datetime:
    """A time of RFC 3339, in UTC."""
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        raise UnreadableError from None
    if found.tzinfo is None:
        raise UnreadableError
    return found.astimezone(UTC)


def inside(value: Any, *names: str) -> Any:
    """What stands there in an object of objects; None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError("not a number of JSON's")
