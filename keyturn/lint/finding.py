"""What a rule is, and what it found where. A value is never a part of it, nor anything made of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Severity(StrEnum):
    """As SARIF names them. Error: a key lies open, or cannot arrive. Warning: a rotation may cost requests. Note: told."""

    error = "error"
    warning = "warning"
    note = "note"

    def reaches(self, least: Severity) -> bool:
        """Whether it is as bad as that, or worse."""
        order = list(Severity)
        return order.index(self) <= order.index(least)


@dataclass(frozen=True, slots=True)
class Rule:
    """`what` is wrong, in a sentence; `why` it matters, with where that is known from; what to do."""

    id: str
    name: str
    severity: Severity
    what: str
    why: str
    remedy: str


class Spot(Protocol):
    """A place in a file: line and column from 1, and the names that lead there."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def place(self) -> str: ...


@dataclass(frozen=True, slots=True)
class At:
    """A place that is not one of YAML's."""

    line: int
    column: int = 1
    place: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding whose file is not said yet. `width`: how many characters from its column on it speaks of, 0 if unknown."""

    rule: Rule
    line: int
    column: int
    place: str
    message: str
    severity: Severity
    width: int = 0


def hit(rule: Rule, spot: Spot, message: str, severity: Severity | None = None, width: int = 0) -> Hit:
    return Hit(rule, spot.line, spot.column, spot.place, message, severity or rule.severity, width)


@dataclass(frozen=True, slots=True)
class Finding:
    """`path`: with `/`, relative to where the program runs. `fingerprint`: the same as long as rule, file and names are."""

    rule: Rule
    severity: Severity
    path: str
    line: int
    column: int
    message: str
    remedy: str
    fingerprint: str
