"""Whether an old key may be ended yet: where a person is to be asked first, what they said, and what holds when nobody did.

Pure. The truth is beside the secret: what was reported, when the overlap ends, and the answer. Whoever comes by reads it
there, so that no process waits for a person, and none that dies loses the question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from keyturn.journal import Journal
from keyturn.model import Stage, VersionRef

if TYPE_CHECKING:
    from keyturn.settings import ApprovalSettings

_INCIDENT, _ROTATION = "incident", "rotation"


@dataclass(frozen=True, slots=True)
class Question:
    """What keeps a key from being ended. `until`: when it is decided without an answer; None: it is kept until a person says
    otherwise. `text`: the fingerprint of its value. `then`: what is done at that time."""

    text: str
    until: datetime | None
    then: str
    sentence: str


def question(approval: ApprovalSettings | None, journal: Journal, fingerprint: str, now: datetime) -> Question | None:
    """None: it may be ended."""
    if approval is None:
        return None
    answer, begins = journal.answered_of(fingerprint), _begins(journal, fingerprint)
    if answer is not None:  # also where nobody would be asked any more: what a person has said holds
        return None if answer.revoke else _kept(approval, fingerprint, "a person has said no")
    if _why(journal, fingerprint) not in approval.when:
        return None
    until = begins + approval.timeout if begins is not None else None
    if until is None or now < until:
        when = f"until {_clock(until)}, and then: {approval.then}" if until else "once the new key is proved"
        sentence = f"a person is asked whether the old key may be revoked, {when}"
        return Question(fingerprint, until or now + approval.timeout, approval.then, sentence)
    if approval.then == "revoke":
        return None
    return _kept(approval, fingerprint, f"nobody has answered by {_clock(until)}")


def unanswered(approval: ApprovalSettings, journal: Journal, fingerprint: str) -> str:
    """For the record, of a key that may be ended: that nobody said so. "" where a person did, or was not to be asked."""
    if _why(journal, fingerprint) not in approval.when or journal.answered_of(fingerprint) is not None:
        return ""
    return f"nobody has answered in time, and then: {approval.then}"


def asked_about(
    approval: ApprovalSettings | None, journal: Journal, stages: Mapping[Stage, VersionRef], old: Collection[str]
) -> tuple[str, ...]:
    """The fingerprints of the values that a person may speak of now: the one that was reported, then the one before."""
    if approval is None:
        return ()
    held = {stages[stage].fingerprint for stage in (Stage.CURRENT,) if stage in stages}
    reported = journal.leaked.text if journal.leaked is not None else ""
    previous = stages[Stage.PREVIOUS].fingerprint if Stage.PREVIOUS in stages else ""
    known = [each for each in (reported, previous, *sorted(old)) if each in old or (each == reported and each in held)]
    said = journal.answered.text if journal.answered is not None else ""
    return tuple(each for each in dict.fromkeys(known) if _why(journal, each) in approval.when or each == said)


def _kept(approval: ApprovalSettings, fingerprint: str, why: str) -> Question:
    sentence = f"{why}: the old key is kept, until `keyturn approve` or `keyturn retire --now`"
    return Question(fingerprint, None, approval.then, sentence)


def _why(journal: Journal, fingerprint: str) -> str:
    """A key that was reported, and what an incident's rotation displaces, goes as in an incident."""
    leaked = journal.leaked_as(fingerprint) is not None
    return _INCIDENT if leaked or journal.reason == _INCIDENT else _ROTATION


def _begins(journal: Journal, fingerprint: str) -> datetime | None:
    leaked = journal.leaked_as(fingerprint)
    return leaked.at if leaked is not None else journal.retire_after


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
