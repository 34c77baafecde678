"""One variable in a file of variables as text: read it, or change it and leave every other byte as it is.

Such files are read by programs that disagree: shells, python-dotenv, Docker Compose, systemd's EnvironmentFile. What is
written here is what they read alike: bare, or in single quotes. A value that is written otherwise, and would not be read
alike, is refused. Of several lines for one variable the last one counts, to all of them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"\ufeff?[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_LINE = re.compile(r"[^\n]*\n?")
_BARE = re.compile(r"[^ \t\r\n]*")
_REST = re.compile(r"[ \t]*(?:[ \t]#[^\n]*)?\r?(?:\n|\Z)")  # of the line behind a value: nothing, or a comment
_AMBIGUOUS = re.compile(r"['\"\\$`]")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=+@%,-]+")


class AmbiguousError(ValueError):
    """What stands there, or should, is not read alike by those who read such files. Nothing of it is quoted."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands, with its quotes if it has any."""

    start: int
    end: int
    quote: str


def value_of(text: str, name: str) -> str | None:
    """The variable's value; None where no line sets it."""
    place = _find(text, name)
    return None if place is None else _read(text, place)


def with_value(text: str, name: str, value: str) -> str:
    """The text with another value for this variable: in its last line, or in a new one at the end."""
    place = _find(text, name)
    if place is not None:
        _read(text, place)
        return text[: place.start] + written(value, place.quote) + text[place.end :]
    end = "\r\n" if "\r\n" in text else "\n"
    return text + (end if text and not text.endswith("\n") else "") + f"{name}={written(value)}{end}"


def written(value: str, quote: str = "") -> str:
    """As it stands behind the `=`: in the quotes that were there, if it may. AmbiguousError where there is no such way."""
    if set(value) & set("'\\$"):
        raise AmbiguousError("the value has a quote, a backslash or a dollar sign in it")
    if quote == '"' and not _AMBIGUOUS.search(value):
        return f'"{value}"'
    if _PLAIN.fullmatch(value) and not quote:
        return value
    quoted = shlex.quote(value)
    return quoted if quoted.startswith("'") else f"'{value}'"


def _find(text: str, name: str) -> _Place | None:
    """The last assignment. What looks like one inside a quoted value of several lines is none."""
    found, at = None, 0
    while at < len(text):
        match = _ASSIGNMENT.match(text, at)
        if match is None:
            at = _past_line(text, at)
            continue
        place = _place(text, match.end())
        found = place if match[1] == name else found
        at = _past_line(text, place.end)
    return found


def _place(text: str, start: int) -> _Place:
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        end = re.compile(r"(?:[^\\\"]|\\.)*\"" if quote == '"' else r"[^']*'", re.DOTALL).match(text, start + 1)
        if end is not None:
            return _Place(start, end.end(), quote)
    bare = _BARE.match(text, start)
    return _Place(start, bare.end() if bare else start, "")


def _read(text: str, place: _Place) -> str:
    raw = text[place.start : place.end]
    value = raw[1:-1] if place.quote else raw
    if _REST.match(text, place.end) is None:
        raise AmbiguousError("there is more on the line than one value")
    if place.quote != "'" and _AMBIGUOUS.search(value):
        raise AmbiguousError("the value has a quote, a backslash, a dollar sign or a backtick in it")
    return value


def _past_line(text: str, at: int) -> int:
    match = _LINE.match(text, at)
    return max(match.end() if match else at, at + 1)
