"""The shortest time in which the outside calls of a run could have been made: what its own time is divided by.

A call is a look or an act: an act changes something at the provider, in the store or at a member, a look (also a canary)
changes nothing. Each is recorded where it is answered, from its arrival to its answer. What has to wait for what:

- an act waits for each act before it: a key is created before it is written, written before it is promoted, promoted before
  a member is rolled onto it, and one member is rolled after the other;
- an act waits for each look before it, which it is decided by, and a look waits for each act before it, whose outcome it
  looks at;
- a look waits for no other look. One exception: a candidate is shown to a proxy only after that has refused a garbage key.

The floor is the longest chain of calls of which each waits for the one before. So looks that keyturn makes one after the
other count once, as the longest of them: side by side is what they could have been. Where there are several
credentials, looks that name none (the list of a provider's keys) are left out; a supervisor's status always is. All that
makes the floor shorter, and the ratio larger. That a
chain has acts and looks in it that keyturn might have done without is not told here: `calls_per_rotation` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CONTROL, CANDIDATE = "control", "candidate"


@dataclass(frozen=True, slots=True)
class Call:
    """`begin`, `end`: seconds of one clock. `concerns`: credentials; several for a roll that moves several keys at once."""

    place: str
    what: str
    begin: float
    end: float
    acts: bool = False
    concerns: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def floor(calls: Iterable[Call]) -> float:
    """Seconds of the longest chain. `calls`: of one credential."""
    longest: list[tuple[Call, float]] = []
    for call in sorted(calls, key=lambda each: each.begin):
        before = max((chain for other, chain in longest if _waits_for(call, other)), default=0.0)
        longest.append((call, before + call.seconds))
    return max((chain for _, chain in longest), default=0.0)


def of(calls: Iterable[Call], credential: str, until: float, *, alone: bool = False) -> list[Call]:
    """Those that concern this credential, and had ended by then. `alone`: no other was there, so the unnamed are its."""
    mine = [call for call in calls if credential in call.concerns or (alone and not call.concerns)]
    return [call for call in mine if call.end <= until]


def _waits_for(later: Call, earlier: Call) -> bool:
    if earlier.end > later.begin:
        return False  # it did not
    if earlier.acts or later.acts:
        return True
    return (earlier.place, earlier.what, later.what) == (later.place, CONTROL, CANDIDATE)
