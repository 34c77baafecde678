"""The report of an incident: of each credential when it was called for, replaced and refused, and what failed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.report import table
from keyturn.requests_meanwhile import RequestsMeanwhile


@dataclass
class Account:
    """What became of one credential. `promoted_at`, `refused_at`: None where that was not seen.

    `refused_at` is when the provider was first seen to refuse the leaked key, which is no sooner than it did.
    """

    credential: str
    asked_at: datetime
    first: bool = False
    result: str = ""
    sentence: str = ""
    promoted_at: datetime | None = None
    refused_at: datetime | None = None
    requests: RequestsMeanwhile = field(default_factory=RequestsMeanwhile)

    @property
    def is_over(self) -> bool:
        """Whether the leaked key is known to be refused, and no run stopped on the way."""
        return self.refused_at is not None and not self.result.startswith("stopped")

    @property
    def took(self) -> str:
        """From the call to the refusal."""
        return f"{(self.refused_at - self.asked_at).total_seconds():.1f} s" if self.refused_at else "-"


def page(accounts: Sequence[Account]) -> str:
    """For Prefect's artifact: what is not over first. References and words of ours only."""
    ordered = sorted(accounts, key=lambda each: each.is_over)
    refused = sum(each.refused_at is not None for each in accounts)
    rows = (
        (
            each.credential,
            "revoke_first" if each.first else "prove_first",
            _clock(each.asked_at),
            _clock(each.promoted_at),
            _clock(each.refused_at) if each.refused_at else "not seen",
            each.took,
            str(each.requests),
            f"{each.result}: {each.sentence}",
        )
        for each in ordered
    )
    head = ("credential", "policy", "called", "new key promoted", "old key refused", "took", "requests meanwhile", "outcome")
    count = f"{refused} of {len(accounts)}: the leaked key is refused by its provider."
    return "\n".join(["# Incident", "", count, "", *table(head, rows)])


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment is not None else "-"
