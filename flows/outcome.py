"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keyturn.assembly import Assembly, Ending


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


def came_to(c: Assembly, outcome: Outcome) -> Outcome:
    """The same outcome, which stands on the run's page from now on."""
    c.ending = Ending(outcome.result.value, outcome.sentence, _next(outcome))
    return outcome


def _next(outcome: Outcome) -> str:
    name, after = outcome.credential, outcome.retire_after
    if outcome.by_hand:
        return "a person does what is said here; the next sweep goes on from there"
    match outcome.result:
        case Result.PLANNED:
            return "run it without the dry run"
        case Result.PENDING:
            return f"what it waits for is said here; a sweep goes on from there, and so does `keyturn retire {name}`"
        case Result.ROLLED_BACK:
            return f"mend what was wrong, then `keyturn rotate {name}`"
        case Result.NOTHING | Result.ROTATED if after is not None:
            return f"the old key goes after {after:%Y-%m-%d %H:%M:%S} UTC, by a run of its own or by `keyturn retire {name}`"
    return "none"
