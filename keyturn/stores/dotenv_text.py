"""One variable in a file of variables as text: read it, or change it and leave every other byte as it is.

Such files are read by programs that disagree: shells, python-dotenv, Docker Compose, `docker run --env-file`, systemd's
EnvironmentFile. So our variable has one line, which says the same to all that read it: `NAME=VALUE`, bare or in quotes, and
nothing else on it. Where two of them could find two values, or one another's line, it is refused (dotenv_lines for what
stands in front of it). Two things are left, which give a reader no key rather than another one: `docker run` takes quotes
for a part of the value, so none is ever added; and systemd and `docker run` do not know `export`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from keyturn.stores.dotenv_lines import AmbiguousError, demand_plain_text, past_statement

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGN = r"[A-Za-z0-9_./:=+@%,-]"
_PLAIN = re.compile(rf"{_SIGN}+")
_VALUE = re.compile(rf"'(?P<single>[^'\\$\n]*)'|\"(?P<double>[^'\"\\$`\n]*)\"|(?P<bare>{_SIGN}*)")
_COMMENT = re.compile(r"[ \t]*#")
_PLAIN_LINE = re.compile(rf"[ \t]*(?:export[ \t]+)?({NAME.pattern})={_SIGN}*")
_CHANGES = r"(?:unset|export|read|readonly|declare|typeset|local)\b"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands, with its quotes if it has any."""

    start: int
    end: int
    value: str


def value_of(text: str, name: str) -> str | None:
    """The variable's value; None where no line sets it. AmbiguousError where that depends on who reads it."""
    place = _find(text, name)
    return None if place is None else place.value


def with_value(text: str, name: str, value: str) -> str:
    """The text with another value for this variable: in its line, in its quotes, or in a new line at the end.

    AmbiguousError as `value_of` and `demand_plain`.
    """
    demand_plain(value)
    place = _find(text, name)
    if place is None:
        return text + ("\n" if text and not text.endswith("\n") else "") + f"{name}={value}\n"
    quote = text[place.start : place.start + 1] if place.value != text[place.start : place.end] else ""
    return text[: place.start] + quote + value + quote + text[place.end :]


def demand_plain(value: str) -> None:
    """AmbiguousError for a value that not every reader takes alike without quotes."""
    if not _PLAIN.fullmatch(value):
        raise AmbiguousError(
            "the value has other signs in it than letters, digits and _./:=+@%,-",
            "keep this key in a file of its own: leave `field` out",
        )


def _find(text: str, name: str) -> _Place | None:
    """The one line that speaks of the variable, at the beginning of a line to all readers."""
    demand_plain_text(text)
    mentions = list(_mentions(text, name))
    if len(mentions) > 1:
        raise AmbiguousError(
            f"{len(mentions)} lines speak of this variable", "leave one line for it, and none that looks like one"
        )
    wanted = mentions[0] if mentions else len(text)
    at = 0
    while at < wanted:
        at = past_statement(text, at)
    if at > wanted:
        raise AmbiguousError("what looks like its line is inside another value", "give it a line of its own, above that")
    return _place(text, at, name) if mentions else None


def _mentions(text: str, name: str) -> list[int]:
    """Where the lines begin that could set the variable, or take it away, to any reader.

    To a shell these are `X=1; NAME=2`, `unset NAME`, `NAME+=x`; to python-dotenv `NAME` alone and `'NAME'=x`; to Compose
    `NAME: x`; to `docker run` a line inside a quoted value. A comment is none, and neither is `$NAME`, nor what stands
    behind the `=` of a plain line of another variable: where nothing above it is open, `OTHER=NAME=` sets one variable to
    all. (Between `((` and `))` it sets two, to bash.)
    """
    beginning = rf"\s*(?:export\s+)?['\"\ufeff]?{name}(?![A-Za-z0-9_])"
    anywhere = rf".*(?<![A-Za-z0-9_${{]){name}['\"]?\s*\+?="
    command = rf"(?:.*[\s;&|(])?{_CHANGES}.*(?<![A-Za-z0-9_$]){name}(?![A-Za-z0-9_])"
    speaks = re.compile(f"{beginning}|{anywhere}|{command}")
    lines_to_all = _statements(text)
    found, at = [], 0
    for line in text.split("\n"):
        if name in line and not _COMMENT.match(line) and speaks.match(line):
            plain = _PLAIN_LINE.fullmatch(line)
            if plain is None or plain[1] == name or at not in lines_to_all:
                found.append(at)
        at += len(line) + 1
    return found


def _statements(text: str) -> set[int]:
    """Where the lines begin that are one to all readers, down to the first that leaves something open."""
    found, at = set(), 0
    with suppress(AmbiguousError):
        while at < len(text):
            found.add(at)
            at = past_statement(text, at)
    return found


def _place(text: str, at: int, name: str) -> _Place:
    end = text.find("\n", at)
    line = text[at : end if end >= 0 else len(text)]
    if line.endswith("\r"):
        raise AmbiguousError(
            "its line ends in a carriage return, to a shell a part of the key", "end that line by a newline alone"
        )
    head = re.match(rf"[ \t]*(?:export[ \t]+)?{name}=", line)
    value = _VALUE.fullmatch(line, head.end()) if head else None
    if head is None or value is None:
        raise AmbiguousError(
            "its line is more than a plain value",
            f"write it as {name}=VALUE, without space around the `=`, and a comment on a line of its own",
        )
    return _Place(at + head.end(), at + len(line), next(part for part in value.groups() if part is not None))
