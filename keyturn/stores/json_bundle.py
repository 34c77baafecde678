"""One field of a JSON object as text: read it, or change it and leave every other byte as it is.

Parsing and printing again would not do: it rewrites numbers, escapes and white space of fields that are not ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class NotABundleError(ValueError):
    """The text is no JSON object, or the field is not there as a string. The text is not quoted."""


def field_text(document: str, field: str) -> str | None:
    """The field's value; None where there is no such field. NotABundleError for a value that is not a string."""
    value = _fields(document).get(field)
    if value is not None and not isinstance(value, str):
        raise NotABundleError("the field does not hold a string")
    return value


def is_bundle(document: str) -> bool:
    """Whether the text is a JSON object."""
    try:
        return isinstance(json.loads(document), dict)
    except (ValueError, RecursionError):
        return False


def with_field(document: str, field: str, value: str) -> str:
    """The document with another value at an existing field."""
    if field not in _fields(document):
        raise NotABundleError("the field is not there")
    start, end = _span(document, field)
    return document[:start] + json.dumps(value) + document[end:]


def with_new_field(document: str, field: str, value: str) -> str:
    """The document with one field more, behind its last one and set apart as that is."""
    if field in _fields(document):
        raise NotABundleError("the field is there already")
    start = document.index("{") + 1
    at, apart = start, ""
    for name_at, _, _, end in _members(document):
        at, apart = end, document[_before_space(document, name_at) : name_at]
    return f"{document[:at]}{',' if at > start else ''}{apart}{json.dumps(field)}: {json.dumps(value)}{document[at:]}"


def _fields(document: str) -> dict[str, object]:
    # Raised after the except block: a JSONDecodeError carries the whole document.
    if not is_bundle(document):
        raise NotABundleError("the secret is not a JSON object")
    fields: dict[str, object] = json.loads(document)
    return fields


def _span(document: str, field: str) -> tuple[int, int]:
    """Where the field's value stands in a valid document; of a repeated field the last one, as JSON readers take it."""
    return [(start, end) for _, name, start, end in _members(document) if name == field][-1]


def _members(document: str) -> Iterator[tuple[int, str, int, int]]:
    """Of each field of a valid document: where its name begins, the name, where its value begins and ends."""
    at = _past_space(document, document.index("{") + 1)
    while document[at] != "}":
        name_at = at
        name, at = _DECODER.raw_decode(document, at)
        start = _past_space(document, _past_space(document, at) + 1)  # past the colon
        _, end = _DECODER.raw_decode(document, start)
        yield name_at, name, start, end
        at = _past_space(document, end)
        at = _past_space(document, at + 1) if document[at] == "," else at


def _past_space(document: str, at: int) -> int:
    match = _SPACE.match(document, at)
    return match.end() if match else at


def _before_space(document: str, at: int) -> int:
    while document[at - 1] in " \t\n\r":
        at -= 1
    return at
