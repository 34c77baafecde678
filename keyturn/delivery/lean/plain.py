"""Which settings are plain: a narrower form of each than its own model takes, and none that the model would refuse."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from keyturn.delivery.lean.declined import Declined

Check = Callable[[Any], bool]
Settings = Mapping[str, Any]

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,6}[smhdw]){1,4}")
_LONGEST = 36500 * 86400
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL}){{0,4}})(?::([1-9][0-9]{{0,4}}))?((?:/[A-Za-z0-9_.-]+){{0,4}})/?")
_ZONE = re.compile(r"[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_]+){0,2}")
_ZONES = "/usr/share/zoneinfo"
MOUNT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*"


def seconds(text: str) -> int:
    """The length of a duration. Declined for what is none."""
    if not _DURATION.fullmatch(text):
        raise Declined
    found = sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)([smhdw])", text))
    if found > _LONGEST:
        raise Declined
    return found


def split_address(text: str) -> tuple[str, str, int, str]:
    """Scheme, host, port (0: not given) and path of an address. Declined for what is none."""
    found = _ADDRESS.fullmatch(text)
    if found is None or "xn--" in text.lower() or int(found[3] or 0) > 65535:
        raise Declined
    return found[1], found[2], int(found[3] or 0), found[4]


def text(pattern: str = r"[ -~]{1,200}") -> Check:
    found = re.compile(pattern)
    return lambda value: isinstance(value, str) and found.fullmatch(value) is not None


def duration(least: int = 0) -> Check:
    return lambda value: isinstance(value, str) and seconds(value) >= least


def number(least: int, most: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def address(value: Any) -> bool:
    return isinstance(value, str) and bool(split_address(value))


def zone(value: Any) -> bool:
    if value == "UTC":
        return True
    if not isinstance(value, str) or not _ZONE.fullmatch(value) or "PYTHONTZPATH" in os.environ:
        return False
    try:
        with open(f"{_ZONES}/{value}", "rb") as file:  # noqa: PTH123
            return file.read(4) == b"TZif"
    except OSError:
        return False


reference: Check = text(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[A-Za-z0-9_./+@-]+")


def fit(settings: Any, required: Mapping[str, Check], optional: Mapping[str, Check]) -> Settings:
    """The settings, which have to be those. Declined for one that is missing, unknown or not plain."""
    if not isinstance(settings, dict) or not required.keys() <= settings.keys():
        raise Declined
    for name, value in settings.items():
        check = required.get(name) or optional.get(name)
        if check is None or not check(value):
            raise Declined
    return settings


def section(value: Any, pattern: re.Pattern[str]) -> Mapping[str, Any]:
    """A mapping of such names to settings, with one at least."""
    if not isinstance(value, dict) or not value or not all(pattern.fullmatch(name) for name in value):
        raise Declined
    return value


def items(value: Any) -> list[Any]:
    """A list, with one item at least."""
    if not isinstance(value, list) or not value:
        raise Declined
    return value
