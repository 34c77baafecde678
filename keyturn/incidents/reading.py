"""Reading what a scanner sent: JSON, or lines of it. Nothing of it is quoted, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

from keyturn.json_object import UnreadableError, has_half_a_character, inside, json_value
from keyturn.material import KeyMaterial

MOST_LEAKS = 200  # in one report
_LONGEST_KEY = 16384  # characters
_LONGEST_NAME = 200


def json_lines(body: bytes) -> list[Any]:
    """JSON one value a line, blank lines left out."""
    return [json_value(line) for line in body.splitlines() if line.strip()]


def objects(value: Any) -> list[dict[str, Any]]:
    """A list of objects, or one object alone. UnreadableError for anything else, and for too many."""
    found = value if isinstance(value, list) else [value]
    if len(found) > MOST_LEAKS or not all(isinstance(each, dict) for each in found):
        raise UnreadableError
    return found


def material(text: Any) -> KeyMaterial | None:
    """A key as a scanner writes it, without white space around it. None where it is no text that could be one."""
    if not isinstance(text, str) or len(text) > _LONGEST_KEY:
        return None
    try:
        return KeyMaterial(text.strip())
    except ValueError:
        return None


def name(value: Any) -> str:
    """A short text, such as a type's name or an alert's number; "" for anything else."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18 else value
    usable = isinstance(text, str) and len(text) <= _LONGEST_NAME and not has_half_a_character(text)
    return text if usable else ""


def at(value: Any, path: str) -> Any:
    """What stands at `a.b.c` in an object of objects; the value itself for ""."""
    return inside(value, *path.split(".")) if path else value
