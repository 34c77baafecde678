"""What stands in keyturn.yaml, text by text, and how its faults are worded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keyturn.document import Loc
from keyturn.key_shapes import shown


def reached_from(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    queue = [*needs[name]]
    while queue:
        each = queue.pop()
        if each not in found:
            found.add(each)
            queue += needs.get(each, ())
    return found


def texts_of(value: Any, loc: Loc = (), *, names: bool = True) -> Iterator[tuple[Loc, str]]:
    """Every text in it, and where it stands; the names in it too, unless they are not wanted."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if names:
                yield (*loc, name), name
            yield from texts_of(inner, (*loc, name), names=names)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts_of(inner, (*loc, index), names=names)


_TYPES = {
    "string_type": "text: put it into quotes",
    "tuple_type": "a list",
    "model_type": "a mapping of settings",
    "path_type": "the path of a file",
}


def sentence_of(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown setting"
    if kind == "missing":
        return "is missing"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    return message.removeprefix("Value error, ")


def listed(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names)) or "none"


def printable(part: str | int) -> str:
    return shown(str(part))  # a name can be a key pasted at the wrong place
