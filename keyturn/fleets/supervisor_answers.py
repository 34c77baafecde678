"""What a supervisor answers (see keyturn.delivery.control). What is not of its form is none's, and nothing of it is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyturn.json_object import UnreadableError, inside, iso, mapping, plain_id, text, texts
from keyturn.key_shapes import literal_keys, masked
from keyturn.model import VersionRef

ON_THE_WAY = ("starting", "draining", "stopping")
SERVING = "serving"
STATES = (*ON_THE_WAY, SERVING, "failed")

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NOT_SHOWN = re.compile(r"[^ -~]+")
_LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `document`: the JSON object in it."""

    status: int
    document: Mapping[str, Any]

    @property
    def state(self) -> str:
        """The supervisor's state, which it says with all that it answers to a roll. UnreadableError without."""
        state = self.document.get("state")
        if state not in STATES:
            raise UnreadableError
        return str(state)

    @property
    def words(self) -> str:
        """Why it did not roll. UnreadableError where a supervisor would say it, and does not."""
        return _shown(text(self.document.get("error")))


@dataclass(frozen=True, slots=True)
class Leased:
    """A token that a member has: when it ends, when a new one is fetched, and why that failed the last time."""

    ends: datetime
    refresh: datetime
    failure: str


@dataclass(frozen=True, slots=True)
class Status:
    """`versions`: what the program was seen ready with, by credential. `shadowed`: names of variables. `restarts`: whether a
    roll starts the program anew. `leases`: its tokens. `member` names its process; `wants_its_turn`: it is about to restart
    for a token. `undecided`: credentials whose new key it turned away from while the old one was not answered either."""

    state: str
    versions: Mapping[str, VersionRef]
    shadowed: Sequence[str]
    last_error: str
    restarts: bool = True
    leases: Mapping[str, Leased] = field(default_factory=dict)
    member: str = ""
    wants_its_turn: bool = False
    undecided: Sequence[str] = ()

    @classmethod
    def of(cls, answer: Answer) -> Status:
        """UnreadableError for anything but a supervisor's status."""
        document = answer.document
        versions, shadowed = mapping(document.get("versions")), document.get("shadowed")
        if not isinstance(shadowed, list) or not all(map(_is_variable, shadowed)):
            raise UnreadableError
        last_error = texts({"": document.get("last_error")})[""]
        served = {name: _version(each) for name, each in versions.items()}
        # One that is older does not say, and restarts.
        return cls(
            answer.state,
            served,
            shadowed,
            _shown(last_error),
            document.get("restarts") is not False,
            {name: _leased(each) for name, each in mapping(document.get("leases", {})).items()},
            plain_id(document["member"]) if "member" in document else "",
            document.get("turn") is True,
            _ids(document.get("undecided", [])),
        )

    def serving(self, credential: str) -> VersionRef | None:
        return self.versions.get(credential) if self.state == SERVING else None


def _ids(value: Any) -> Sequence[str]:
    if not isinstance(value, list):
        raise UnreadableError
    return tuple(plain_id(each) for each in value)


def _leased(value: Any) -> Leased:
    failure = text(inside(value, "failure")) if inside(value, "failure") else ""
    return Leased(iso(inside(value, "ends")), iso(inside(value, "refresh")), _shown(failure) if failure else "")


def _version(value: Any) -> VersionRef:
    fingerprint = text(inside(value, "fingerprint"))
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise UnreadableError
    return VersionRef(plain_id(inside(value, "id")), fingerprint)


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and _VARIABLE.fullmatch(value) is not None and not literal_keys(value)


def _shown(words: str) -> str:
    """Fit for an exception: short, on one line, and without what looks like a key."""
    return _NOT_SHOWN.sub("?", " ".join(masked(words).split()))[:_LONGEST_WORDS] or "it gives no reason"
