"""What is written down: one entry of the audit log, frozen, and its form as canonical JSON.

An entry holds names, ids, fingerprints and words of ours. KeyMaterial does not become text, and what looks like a key is
masked all the same, wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from keyturn.evidence import Evidence
from keyturn.key_shapes import masked

_MOST_TEXT = 1000  # characters of one text: our sentences are shorter


class Act(StrEnum):
    """What was done, or is about to be."""

    ASKED = "asked"  # a run has begun: by whom it was asked for, and why
    CREATED = "created"  # a key, at the provider
    UNDONE = "undone"  # before it was promoted: the new key is given up
    PROMOTED = "promoted"  # the secret now holds the new key
    ROLLED = "rolled"  # every member serves it
    PROVED = "proved"  # with evidence
    ANSWERED = "answered"  # by a person, who was asked whether the old key may be ended
    REVOKING = "revoking"  # the old key is about to be revoked, if the evidence allows it
    FORCED = "forced"  # the same, without some of the evidence, for a reason that a person gave
    REVOKED = "revoked"  # and seen to be refused; with the evidence on which it was
    SETTLED = "settled"  # done with, and not seen to be refused: the sentence says why
    ROLLED_BACK = "rolled back"  # the secret holds the key before again
    PARKED = "parked"  # nothing is begun by itself any more
    LEFT = "left to a person"  # who alone can delete the old key
    REFUSED = "refused"  # keyturn would not do it, and says why
    FAILED = "failed"  # it could not be done
    TORN = "torn"  # of the log itself: the line before was cut short


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `by`: the run, and who asked for it. `facts`: references and words, never a value."""

    at: datetime
    act: Act
    credential: str
    by: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "at": _moment(self.at),
            "act": self.act.value,
            "credential": _text(self.credential),
            "by": {name: _text(value) for name, value in self.by.items()},
            "facts": {name: _name(value) if name == "key" else _text(value) for name, value in self.facts.items()},
            "evidence": [_evidence(each) for each in self.evidence],
        }


def canonical(data: Mapping[str, Any]) -> bytes:
    """The one way to write this down, so that a hash of it can be made again: sorted, without spaces, in ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _evidence(found: Evidence) -> dict[str, Any]:
    return {
        "key": _name(found.key),
        "rolled_at": _moment(found.rolled_at),
        "last_used_at": _moment(found.last_used_at),
        "idle": found.idle,
        "missing": [_text(each) for each in found.missing],
        "refusals": [_text(each) for each in found.refusals],
        "members": [
            {
                "member": _text(each.name),
                "asked_at": _moment(each.at),
                "rule": each.rule.value,
                "counts": each.counts,
                "answer": _text(each.reason),
            }
            for each in found.members
        ],
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: str) -> str:
    return masked(str(value))[:_MOST_TEXT]


def _name(key: str) -> str:
    """A key's id at the provider. One that has the form of a key (AWS' access key ids have) is told by its end."""
    told = _text(key)
    return f"...{key[-4:]}" if told == "***" else told
