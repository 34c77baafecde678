"""Evidence: why an old key may be revoked, or why not. Values, and the rules by which they count. Pure.

What could not be had is missing, and said so; nothing is invented. A person may waive some of it, for one of three reasons,
and never what would be an outage: a member that is known to serve another key, or whose key is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Rule(StrEnum):
    """By which rule a member counts, or does not."""

    ANSWERED = "answered"  # it serves the current version, and a pinned call was answered with it: the one that counts
    UNANSWERED = "unanswered"  # it serves it, and whether the key works there could not be told
    REFUSED = "refused"  # it serves it, and the provider refuses the key
    OTHER = "other"  # it serves another key than the current one
    UNKNOWN = "unknown"  # it does not tell which key it serves
    UNROLLED = "unrolled"  # a workload that was not rolled since: none of its members can be believed


class Waiver(StrEnum):
    """Why a person has an old key revoked without all of its evidence. A choice and no free text: Prefect keeps it."""

    MEMBERS_GONE = "members_gone"  # those that cannot be asked, or do not answer, are there no more
    USE_EXPLAINED = "use_explained"  # the use that the provider reports is known, and is not the proxies'
    LEAKED = "leaked"  # the key has leaked, which is worse than whoever may still use it


_WAIVED: dict[Waiver, frozenset[Rule]] = {
    Waiver.MEMBERS_GONE: frozenset({Rule.UNKNOWN, Rule.UNANSWERED}),
    Waiver.USE_EXPLAINED: frozenset(),
    Waiver.LEAKED: frozenset({Rule.UNKNOWN, Rule.UNANSWERED}),
}
_WAIVES_USE = frozenset({Waiver.USE_EXPLAINED, Waiver.LEAKED})


@dataclass(frozen=True, slots=True)
class MemberEvidence:
    """What one member was asked and answered, when, and by which rule it counts. `reason`: in words of ours."""

    fleet: str
    member: str
    rule: Rule
    reason: str
    at: datetime

    @property
    def counts(self) -> bool:
        return self.rule is Rule.ANSWERED

    @property
    def name(self) -> str:
        return f"{self.fleet}/{self.member}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one old key. `key`: its id at the provider, "" where it is of the members alone.

    `rolled_at`: since when no member should use it. `idle`: no use of it since, by the provider's word; None: it cannot
    tell. `missing`: what could not be had, and why. `refusals`: findings that speak against a revoke.
    """

    members: tuple[MemberEvidence, ...] = ()
    key: str = ""
    rolled_at: datetime | None = None
    last_used_at: datetime | None = None
    idle: bool | None = None
    missing: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Every member counts, and nothing speaks against. Missing evidence is shown, but does not refuse by itself."""
        return not self.against()

    def against(self, waiver: Waiver | None = None) -> tuple[str, ...]:
        """What speaks against a revoke, in sentences; () where nothing does, or it is waived."""
        lacking = (each for each in self.members if not each.counts and not waives(waiver, each.rule))
        found = [f"{each.name}: {each.reason}" for each in lacking]
        if not self.members and not waives(waiver, Rule.UNKNOWN):
            found.append("no member of any fleet was asked")
        return (*found, *(() if waives_use(waiver) else self.refusals))

    def note(self, waiver: Waiver | None = None) -> str:
        """In short, for what is kept beside the secret."""
        parts = [f"members {sum(each.counts for each in self.members)}/{len(self.members)}"]
        last = f" {self.last_used_at:%Y-%m-%dT%H:%M:%SZ}" if self.last_used_at else ""
        if self.idle is not None:
            parts.append(("idle since" if last else "idle") + last if self.idle else "in use" + last)
        if self.missing:
            parts.append(f"missing {len(self.missing)}")
        if waiver is not None:
            parts.append(f"forced {waiver}")
        return " ".join(parts)


def waives(waiver: Waiver | None, rule: Rule) -> bool:
    """Whether a member of which this is so does not matter."""
    return waiver is not None and rule in _WAIVED[waiver]


def waives_use(waiver: Waiver | None) -> bool:
    """Whether the provider's word on a use does not matter."""
    return waiver in _WAIVES_USE


def against(found: Sequence[Evidence], waiver: Waiver | None = None) -> tuple[str, ...]:
    """Of several, each sentence once."""
    return tuple(dict.fromkeys(sentence for evidence in found for sentence in evidence.against(waiver)))
