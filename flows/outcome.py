"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Result(StrEnum):
    """In one word; the command line's exit codes are made of it."""

    NOTHING = "nothing to do"
    ROTATED = "rotated"  # the old key lives until `retire_after`
    RETIRED = "rotated, old key refused"
    PENDING = "rotated, revocation pending"
    ANSWERED = "answered"  # by a person, who was asked whether the old key may be revoked
    PLANNED = "planned"
    STOPPED = "stopped, not replaced"  # of an incident: the key that was in service had no successor yet
    UNFINISHED = "stopped, replaced"  # and here it had: the rest is to be run again
    ROLLED_BACK = "rolled back"  # the key that was taken back lives until `retire_after`


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result, the sentence behind it, and when the old key is due. `by_hand`: a person has to delete it."""

    credential: str
    result: Result
    sentence: str
    retire_after: datetime | None = None
    old_key_refused_at: datetime | None = None
    by_hand: bool = False
