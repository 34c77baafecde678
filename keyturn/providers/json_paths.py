"""Where a value stands in an answer, as it is declared: a small part of JSONPath, in which nothing can run or take long.

`$.data.id`, `$.data['a name'].id`, `$.keys[0].id`, `$.keys[-1].id`; for a list `$.data[*]` or `$.data[*].key`, with one
`[*]`. A `?` at the end: it may be absent. No filters, slices, unions, `..` or `|`.

jsonpath_ng reads the path. It is walked here: to jsonpath_ng an absent list is an empty one, and to us a list of keys that
is not there must never be a list without keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonpath_ng.jsonpath import Child, Fields, Index, JSONPath, Root, Wildcard
from jsonpath_ng.parser import parse

from keyturn.json_object import UnreadableError

_LONGEST, _DEEPEST, _FARTHEST = 200, 16, 10_000
_TEXT = re.compile(r"\$[A-Za-z0-9_@.'\"\[\]*: /+-]*")
_EACH = object()  # the step [*]
Step = object  # a name, an index, or _EACH


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that was read. `optional`: it may lead nowhere."""

    steps: tuple[Step, ...]
    optional: bool = False

    @property
    def is_many(self) -> bool:
        return _EACH in self.steps

    def value(self, document: Any) -> Any:
        """What stands there, which may be null. UnreadableError where nothing does; None if it may be absent."""
        try:
            return _walked(document, self.steps)
        except UnreadableError:
            if self.optional and not self.is_many:
                return None
        raise UnreadableError

    def values(self, document: Any) -> Sequence[Any]:
        """What stands in each place of the list. UnreadableError where there is no list, or one of them lacks it."""
        at = self.steps.index(_EACH)
        found = _walked(document, self.steps[:at])
        if not isinstance(found, list):
            raise UnreadableError
        return [_walked(each, self.steps[at + 1 :]) for each in found]


@lru_cache(maxsize=1000)
def json_path(text: str, many: bool = False) -> JsonPath:
    """The path in a text. `many`: it has to have a `[*]`, else none. ValueError says what is wrong, not with what text."""
    bare = text.removesuffix("?")
    steps = _steps(bare)
    count = sum(step is _EACH for step in steps)
    if count != many:
        raise ValueError("must have [*] once, where the list is" if many else "must lead to one value, without [*]")
    if many and bare != text:
        raise ValueError("must not end with ?: a list that is absent is not an empty one")
    return JsonPath(steps, bare != text)


def _steps(text: str) -> tuple[Step, ...]:
    wrong = "must be a path like $.data.id, made of names, [0] and [*]"
    if len(text) > _LONGEST or not _TEXT.fullmatch(text) or ".." in text or ".*" in text:
        raise ValueError(wrong)
    try:
        steps = tuple(_flat(parse(text)))
    except Exception:  # its errors quote the text, and are of many kinds
        steps = ()
    if not steps or steps[0] is not None or None in steps[1:] or len(steps) > _DEEPEST:
        raise ValueError(wrong)
    return steps[1:]


def _flat(path: JSONPath) -> list[Step | None]:
    """Its steps from left to right; None: the root. ValueError for every other part of JSONPath."""
    if isinstance(path, Child):
        return [*_flat(path.left), *_flat(path.right)]
    if isinstance(path, Root):
        return [None]
    if isinstance(path, Wildcard):
        return [_EACH]
    if isinstance(path, Fields) and len(path.fields) == 1:
        return [path.fields[0]]
    if isinstance(path, Index) and len(path.indices) == 1 and -1 <= path.indices[0] <= _FARTHEST:
        return [path.indices[0]]
    raise ValueError


def _walked(value: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        there = isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value)
        if not there and not (isinstance(value, dict) and isinstance(step, str) and step in value):
            raise UnreadableError
        value = value[step]
    return value
