"""In which portions a fleet is rolled: one member first, then a part of them, then the rest. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")

_PERCENT = re.compile(r"([1-9][0-9]?|100)%")


def _size(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return value
    raise ValueError("must be a number of members, such as 1, or a part of them, such as 25%")


Size = Annotated[int | str, BeforeValidator(_size)]
"""How many members have been moved when this wave is over: a number, or a part of all, rounded up."""


def in_waves(members: Sequence[T], sizes: Sequence[int | str]) -> Iterator[Sequence[T]]:
    """The members, in order, cut where a size is reached; what is left is the last wave. No wave is empty."""
    begun = 0
    for size in (*sizes, len(members)):
        ends = _reached(size, len(members))
        if ends > begun:
            yield members[begun:ends]
            begun = ends


def _reached(size: int | str, members: int) -> int:
    if isinstance(size, int):
        return min(size, members)
    return math.ceil(members * int(size.removesuffix("%")) / 100)
