"""What a rotation of many came to, for each credential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.outcome import Outcome, Result
from keyturn.errors import KeyturnError, RolledBackError

_TOLD = 10  # failures in one message; the table has them all


@dataclass(frozen=True, slots=True)
class Turned:
    """`result`: in a word or two. `next`: what comes next, and by whom; "" where nothing does."""

    credential: str
    result: str
    sentence: str
    next: str = ""
    failed: bool = False
    retire_after: datetime | None = None

    def as_row(self) -> dict[str, str]:
        """For Prefect's table."""
        return {"credential": self.credential, "outcome": self.result, "what": self.sentence, "next": self.next}


class NotAllTurnedError(KeyturnError):
    """Some credentials failed. `rows`: of all, in the order they were named."""

    def __init__(self, rows: Sequence[Turned]) -> None:
        self.rows = rows
        failed = [row for row in rows if row.failed]
        told = "; ".join(f"{row.credential}: {row.sentence}" for row in failed[:_TOLD])
        more = f"; and {len(failed) - _TOLD} more, as the table rotate-many says" if len(failed) > _TOLD else ""
        super().__init__(
            f"{len(failed)} of {len(rows)} credentials failed: {told}{more}",
            remedy="mend what is named; then retry this run, or rotate these alone",
        )


def of_outcome(outcome: Outcome) -> Turned:
    """Of a rotation that did not fail."""
    return Turned(outcome.credential, outcome.result.value, outcome.sentence, _next(outcome), False, outcome.retire_after)


def of_failure(credential: str, error: KeyturnError) -> Turned:
    """Of one that did."""
    result = Result.ROLLED_BACK.value if isinstance(error, RolledBackError) else "failed"
    return Turned(
        credential, result, error.message, error.remedy or f"`keyturn rotate {credential}` goes on there", failed=True
    )


def _next(outcome: Outcome) -> str:
    if outcome.by_hand:
        return "a person has to do it"
    if outcome.result is Result.PENDING:
        return "a sweep comes back to the old key"
    if outcome.retire_after is not None:
        return f"the old key ends after {outcome.retire_after:%Y-%m-%d %H:%M:%S} UTC"
    return ""
