"""Placeholders in what is declared to be sent: `{label}` and the like, and nothing else that braces can mean elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from string import Formatter
from typing import Any

from keyturn.json_object import has_half_a_character
from keyturn.providers.admin_api import segment
from keyturn.providers.fields import rfc3339

EXPIRY = frozenset({"expires_at", "expires_unix", "expires_in_seconds"})
OF_CREATE = frozenset({"label", "owner"}) | EXPIRY
OF_A_KEY = frozenset({"id", "name", "owner"})
OF_ALL = OF_CREATE | OF_A_KEY
_NUMBERS = frozenset({"expires_unix", "expires_in_seconds"})
_DEEPEST, _MOST, _LARGEST = 8, 200, 2**63

Values = Mapping[str, str | int]


class _AbsentType:
    """A value that is left out."""


_ABSENT = _AbsentType()


def expiry(now: datetime, expires_in: timedelta | None) -> Values:
    """The values of the placeholders that say when a key ends; none where it does not."""
    if expires_in is None:
        return {}
    until = now + expires_in
    seconds = int(expires_in.total_seconds())
    return {"expires_at": rfc3339(until), "expires_unix": int(until.timestamp()), "expires_in_seconds": seconds}


def placeholders(text: str) -> list[str]:
    """The names in braces. ValueError for one that there is not, and for every other form: `{id!r}`, `{id.x}`, `{}`."""
    return [name for _, name in _parts(text) if name is not None]


def placeholders_in(value: Any) -> set[str]:
    """Of every text in a value as JSON has it. ValueError for what JSON has not, and for what is too deep or too much."""
    texts = list(islice(_texts(value, 0), _MOST + 1))
    if len(texts) > _MOST:
        raise ValueError(f"must not hold more than {_MOST} values")
    return {name for text in texts for name in placeholders(text)}


def must_be_of(found: Collection[str], known: Collection[str]) -> None:
    """ValueError names what may stand here: the one that may not is only one of ours, so it is named too."""
    if wrong := sorted(set(found) - set(known)):
        there = ", ".join(f"{{{name}}}" for name in sorted(known))
        raise ValueError(f"{{{wrong[0]}}} has no value here; there are: {there}")


def filled(value: Any, values: Values) -> Any:
    """The value with its placeholders filled. What holds one that has no value is left out of its object or list."""
    if isinstance(value, str):
        return _filled_text(value, values)
    if isinstance(value, dict):
        inner = {name: filled(each, values) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each is not _ABSENT}
    if isinstance(value, list):
        return [each for each in (filled(each, values) for each in value) if each is not _ABSENT]
    return value


def filled_path(path: str, values: Values) -> str:
    """Each value as one segment, whatever characters it has."""
    return "".join(literal + (segment(str(values[name])) if name else "") for literal, name in _parts(path))


def _filled_text(text: str, values: Values) -> Any:
    parts = _parts(text)
    if any(name is not None and name not in values for _, name in parts):
        return _ABSENT
    if len(parts) == 1 and parts[0][0] == "" and parts[0][1] in _NUMBERS:
        return values[str(parts[0][1])]  # alone it is the number that it is
    return "".join(literal + (str(values[name]) if name else "") for literal, name in parts)


def _parts(text: str) -> list[tuple[str, str | None]]:
    """Literal texts, each with the name of the placeholder that follows it."""
    known = ", ".join(f"{{{name}}}" for name in sorted(OF_ALL))
    try:
        found = list(Formatter().parse(text))
    except ValueError:
        found = [("", "", "", None)]
    if any(name is not None and (name not in OF_ALL or spec or conversion) for _, name, spec, conversion in found):
        raise ValueError(f"has an unknown placeholder, or a brace that is none (write {{{{ for a brace); there are: {known}")
    return [(literal, name) for literal, name, _, _ in found]


def _texts(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError(f"must not be nested deeper than {_DEEPEST}")
    if isinstance(value, str):
        if has_half_a_character(value):
            raise ValueError("must not hold half a character")
        yield value
    elif isinstance(value, dict):
        if not all(isinstance(name, str) and not has_half_a_character(name) for name in value):
            raise ValueError("must have whole texts as names")
        for each in value.values():
            yield from _texts(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, depth + 1)
    elif not (value is None or (isinstance(value, bool | int | float) and abs(value) < _LARGEST)):  # false for NaN
        raise ValueError("must be made of what JSON has: texts, numbers, true, false, null, lists and objects")
