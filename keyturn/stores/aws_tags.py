"""Notes as the values of AWS tags.

A secret has at most 50 tags, with values of at most 255 characters out of letters, digits, space and _ . : / = + @ -
(API reference, TagResource). A bundle may carry the notes of many fields, so the notes of one field are written as one
line and cut into as few values as hold it. Lengths stand before the texts: the alphabet leaves no character to escape by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PIECE = 250
MOST = 5  # tags that the notes of one value take: 2 to 4, and about 1,100 characters when many old keys are left to revoke
_HEAD = re.compile(r"([a-z_]{1,24}):([0-9]{1,3}):")
_COUNT = re.compile(r"([0-9]{1,3})\.")


def pack(notes: Mapping[str, str]) -> list[str]:
    """The values, in order. Each begins with their number and ends with a dot.

    So no value begins with `aws:`, which AWS reserves, or has white space at its ends, and a value left over from a
    longer line is not taken for a part of this one.
    """
    line = "".join(f"{key}:{len(value)}:{value} " for key, value in sorted(notes.items()))
    pieces = [line[at : at + _PIECE] for at in range(0, len(line), _PIECE)]
    return [f"{len(pieces)}.{piece}." for piece in pieces]


def unpack(values: Sequence[str]) -> dict[str, str]:
    """The notes again. Where somebody has changed the tags by hand: as many as can be read."""
    count = _COUNT.match(values[0]) if values else None
    if count is None:
        return {}
    line = "".join(value.partition(".")[2][:-1] for value in values[: int(count[1])])
    notes, at = {}, 0
    while head := _HEAD.match(line, at):
        end = head.end() + int(head[2])
        if line[end : end + 1] != " ":
            break
        notes[head[1]] = line[head.end() : end]
        at = end + 1
    return notes
