"""Notes as the values of AWS tags.

A secret has at most 50 tags, with values of at most 255 characters out of letters, digits, space and _ . : / = + @ -
(API reference, TagResource). A bundle may carry the notes of many fields, so the notes of one field are written as one
line and cut into as few values as hold it, in tags that are numbered. Lengths stand before the texts: the alphabet leaves
no character to escape by.

Who writes such a line writes all of it, with what others noted meanwhile lost. So each note that may not be lost (its name
begins with APART) has a tag of its own, and a writer touches those alone that it is to change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from keyturn.ports import APART

_PIECE = 250
MOST = 10  # tags that the notes of one value take: 3 or 4, and more while a rotation fails and old keys are left to revoke
_HEAD = re.compile(r"([a-z_]{1,24}):([0-9]{1,3}):")
_COUNT = re.compile(r"([0-9]{1,3})\.")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")  # as it is written here: `007` is somebody else's
_APART = re.compile(rf"{APART}[a-z_]{{1,{24 - len(APART)}}}")
_TEXT = re.compile(r"\.([A-Za-z0-9 _.:/=+@-]*)\.")


def is_ours(name: str) -> bool:
    """Whether a tag of this name, without the prefix of its value, is of our making."""
    return bool(_NUMBER.fullmatch(name) or _APART.fullmatch(name))


def notes_of(tags: Mapping[str, str]) -> dict[str, str]:
    """The notes in tags, which are named without the prefix of their value. Foreign tags among them are left out."""
    apart = {name: found[1] for name, text in tags.items() if _APART.fullmatch(name) and (found := _TEXT.fullmatch(text))}
    return {**_in_lines(tags), **apart}


def changes(tags: Mapping[str, str], notes: Mapping[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The tags to set, and the names of those to take off, for these notes to be set (text) or dropped (None).

    What is left over of a longer line is not read, and stays for the next one, which saves a call: a value's notes have
    `MOST` tags to themselves in any case.
    """
    apart = {name: text for name, text in notes.items() if name.startswith(APART)}
    merged = {**_in_lines(tags), **{name: text for name, text in notes.items() if name not in apart}}
    lines = pack({name: text for name, text in merged.items() if text is not None})
    wanted = {str(number): line for number, line in enumerate(lines)}
    wanted |= {name: f".{text}." for name, text in apart.items() if text is not None}
    spare = MOST if lines else 0
    surplus = [name for name in tags if _NUMBER.fullmatch(name) and name not in wanted and int(name) >= spare]
    surplus += [name for name, text in apart.items() if text is None and name in tags]
    return {name: text for name, text in wanted.items() if tags.get(name) != text}, surplus


def _in_lines(tags: Mapping[str, str]) -> dict[str, str]:
    numbers = sorted(int(name) for name in tags if _NUMBER.fullmatch(name))
    found = unpack([tags[str(number)] for number in numbers])
    return {name: text for name, text in found.items() if not name.startswith(APART)}


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
