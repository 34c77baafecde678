"""What a sweep came to, for each credential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from keyturn.report import table


class State(StrEnum):
    """In one word."""

    QUIET = "nothing to do"
    BUSY = "busy"  # another run is at it
    WAITING = "waits"  # for the end of an overlap, or for the next try
    HELD_UP = "held up"  # by the environment before, for longer than it should
    DONE = "done"  # something was due, and was done
    BY_HAND = "waits for a person"
    FAILED = "failed"
    PARKED = "parked"
    UNSEEN = "not seen"
    ENDING = "ends soon"  # of a login of keyturn's own, as the next
    TOO_OLD = "too old"


_WELL = (State.QUIET, State.BUSY, State.WAITING, State.DONE, State.ENDING)


@dataclass(frozen=True, slots=True)
class Swept:
    """`drift`: where store, provider and proxies disagree. `strays`: ids of stray keys that were revoked.

    `credential`: its name; or, for what keyturn logs in with, `login of PROVIDER`.
    """

    credential: str
    state: State
    sentence: str
    drift: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        return self.state in _WELL and not self.drift


def page(rows: Sequence[Swept]) -> str:
    """For Prefect's artifact: what is not well first."""
    ordered = sorted(rows, key=lambda row: (row.is_well, row.state is not State.ENDING, row.state is State.QUIET))
    cells = ((row.credential, row.state, row.sentence, "; ".join(row.drift), ", ".join(row.strays)) for row in ordered)
    return "\n".join(["# Sweep", "", *table(("credential", "state", "what", "drift", "strays revoked"), cells)])
