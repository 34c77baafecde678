"""The inventory: every key that keyturn turns, how old it is, whether it lives. As rows, and as a plot of ages in text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.key_age import KeyAge, short
from keyturn.model import Verdict

_WIDEST = 40  # characters of a bar


class Life(StrEnum):
    """Whether a key in service is accepted."""

    ALIVE = "alive"
    DEAD = "dead"  # the provider refuses it
    UNKNOWN = "not known"  # a limit was reached, no answer, no check: no reason to call anybody
    BUSY = "busy"  # a run is at it, and it may be replaced right now


LIFE_OF = {Verdict.ACCEPTED: Life.ALIVE, Verdict.REJECTED: Life.DEAD, Verdict.INDETERMINATE: Life.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Held:
    """One credential. `key`: the provider's id, "" where it is not known; `fingerprint`: of the value in service."""

    credential: str
    provider: str
    life: Life
    reason: str
    key: str = ""
    fingerprint: str = ""
    age: KeyAge | None = None
    members: str = ""
    strays: int = 0
    stores: tuple[str, ...] = field(default=())

    def as_row(self) -> dict[str, str | int]:
        """For a table: texts and numbers."""
        age = self.age.age if self.age else None
        return {
            "credential": self.credential,
            "provider": self.provider,
            "life": self.life.value,
            "age": short(age) if age is not None else "not known",
            "due": _due(self.age),
            "expires": _day(self.age.expires_at if self.age else None),
            "key": self.key or "-",
            "value": self.fingerprint or "-",
            "members": self.members or "-",
            "strays": self.strays,
            "secrets": ", ".join(self.stores),
            "what": self.reason,
        }


def plot(rows: Sequence[Held]) -> str:
    """A page in Markdown: a bar for each age, the oldest first, `!` where the next key is overdue. Text, for Prefect's UI
    shows no drawing that stands in a page."""
    aged = [(row, row.age.age) for row in rows if row.age is not None and row.age.age is not None]
    aged.sort(key=lambda each: -each[1])
    unknown = [row.credential for row in rows if row.age is None or row.age.age is None]
    longest = max((age for _, age in aged), default=timedelta(0))
    name = max((len(row.credential) for row, _ in aged), default=0)
    lines = [f"{row.credential:<{name}} {_bar(age, longest):<{_WIDEST}} {short(age)}{_mark(row)}" for row, age in aged]
    parts = ["# Ages of the keys in service", "", "```text", *lines, "```"]
    if unknown:
        parts += ["", f"Of no known age: {', '.join(unknown)}"]
    dead = [row.credential for row in rows if row.life is Life.DEAD]
    if dead:
        parts += ["", f"**Dead:** {', '.join(dead)}"]
    return "\n".join(parts)


def _bar(age: timedelta, longest: timedelta) -> str:
    return "█" * max(1, round(_WIDEST * (age / longest))) if longest else "█"


def _mark(row: Held) -> str:
    return " ! overdue" if row.age is not None and row.age.is_overdue else ""


def _due(age: KeyAge | None) -> str:
    if age is None or age.due_at is None:
        return "-"
    return f"overdue by {short(age.at - age.due_at)}" if age.is_overdue else f"in {short(age.due_at - age.at)}"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "-"
