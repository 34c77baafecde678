"""From what is observed to the next step. Pure: no I/O, no clock; a flat list of named checks, the first one decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.journal import Journal
from keyturn.model import KeyRef, Serving, Stage, VersionRef


class Reason(StrEnum):
    """Why a rotation is asked for."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    INCIDENT = "incident"


class Step(StrEnum):
    """Where the rotation goes on."""

    STOP = "stop"
    CREATE = "create"
    ADOPT = "adopt"
    VALIDATE = "validate"
    PROMOTE = "promote"
    ROLL = "roll"
    PROVE = "prove"
    RETIRE = "retire"
    WAIT = "wait"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked to do. `at`: when it was asked, which is not when it started."""

    at: datetime
    reason: Reason = Reason.MANUAL
    overlap: timedelta = timedelta(hours=24)
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The three observations that everything is rebuilt from, and the journal.

    `keys`: the provider's keys, None where they could not be listed. `problems`: what could not be observed, in words
    (only a tolerant observation has any).
    """

    at: datetime
    stages: Mapping[Stage, VersionRef]
    journal: Journal
    keys: tuple[KeyRef, ...] | None = None
    serving: Serving = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def current(self) -> VersionRef | None:
        return self.stages.get(Stage.CURRENT)

    @property
    def behind(self) -> tuple[str, ...]:
        """The members that are not known to serve CURRENT, as `fleet/member`."""
        return tuple(
            f"{fleet}/{member}"
            for fleet, members in self.serving.items()
            for member, version in members.items()
            if version is None or version != self.current
        )

    @property
    def drifted(self) -> tuple[str, ...]:
        """The members that are known to serve something else than CURRENT."""
        return tuple(
            f"{fleet}/{member}"
            for fleet, members in self.serving.items()
            for member, version in members.items()
            if version is not None and version != self.current
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step, the check that chose it, and the sentence a person reads."""

    step: Step
    check: str
    sentence: str


Check = Callable[[Observed, Asked], Decision | None]


def no_current(seen: Observed, asked: Asked) -> Decision | None:
    """The proxies have no key at all: keyturn replaces keys, it does not guess a first one."""
    if seen.current is not None:
        return None
    return Decision(Step.STOP, "no_current", "the secret has no current value: put the key in use today there first")


def promoted_unrecorded(seen: Observed, asked: Asked) -> Decision | None:
    """The swap happened and its outcome was never written down: a run died just after the pivot."""
    pending = seen.journal.pending_fingerprint
    if seen.current is None or not pending or seen.current.fingerprint != pending:
        return None
    return Decision(Step.PROMOTE, "promoted_unrecorded", "the new key was promoted, but not yet written down: goes on there")


def staged(seen: Observed, asked: Asked) -> Decision | None:
    """A value stands as PENDING and the journal knows its key: a run died between write and promote."""
    pending = seen.stages.get(Stage.PENDING)
    if pending is None or not seen.journal.pending_key or pending.fingerprint != seen.journal.pending_fingerprint:
        return None
    return Decision(Step.VALIDATE, "staged", "a new key is written and not yet promoted: goes on with the canary")


def unclaimed(seen: Observed, asked: Asked) -> Decision | None:
    """A value stands as PENDING and the journal knows nothing of it: a run died just after staging it, or it is foreign."""
    if Stage.PENDING not in seen.stages:
        return None
    return Decision(Step.ADOPT, "unclaimed", "a staged value was found that no run has written down: adopts or clears it")


def unrolled(seen: Observed, asked: Asked) -> Decision | None:
    """Promoted, and some member is not known to serve it."""
    if not _open(seen) or not seen.behind:
        return None
    return Decision(Step.ROLL, "unrolled", f"the new key is promoted; not yet served by {', '.join(seen.behind)}")


def unproved(seen: Observed, asked: Asked) -> Decision | None:
    """Every member serves it, and that was not proved yet."""
    if not _open(seen):
        return None
    return Decision(Step.PROVE, "unproved", "every member is rolled; the proof is missing")


def drifted(seen: Observed, asked: Asked) -> Decision | None:
    """The rotation was proved, and a member has fallen back since. (A value set by a person is another matter: due.)"""
    if not seen.drifted or not _made_by_us(seen) or seen.journal.proved_at is None:
        return None
    return Decision(Step.ROLL, "drifted", f"{', '.join(seen.drifted)} does not serve the current key")


def overdue(seen: Observed, asked: Asked) -> Decision | None:
    """The overlap is over, and the old key still lives."""
    after = seen.journal.retire_after
    if not has_old_key(seen) or after is None or seen.at < after:
        return None
    return Decision(Step.RETIRE, "overdue", f"the overlap ended at {_clock(after)}: the old key is to be revoked")


def incident_overlap(seen: Observed, asked: Asked) -> Decision | None:
    """In an incident the overlap of the rotation before is not waited for."""
    if not has_old_key(seen) or asked.reason is not Reason.INCIDENT:
        return None
    return Decision(Step.RETIRE, "incident_overlap", "an incident: the old key of the last rotation is revoked first")


def in_overlap(seen: Observed, asked: Asked) -> Decision | None:
    """Two old keys at once would leave one that no stage holds."""
    after = seen.journal.retire_after
    if not has_old_key(seen) or after is None:
        return None
    return Decision(Step.WAIT, "in_overlap", f"the last rotation's old key lives until {_clock(after)}: retire it first")


def satisfied(seen: Observed, asked: Asked) -> Decision | None:
    """Another run has rotated since this one was asked for: a double click, or a burst after an outage."""
    promoted = seen.journal.promoted_at
    if promoted is None or promoted < asked.at.replace(microsecond=0):
        return None
    return Decision(Step.NOTHING, "satisfied", f"rotated at {_clock(promoted)}, after this run was asked for")


def young(seen: Observed, asked: Asked) -> Decision | None:
    """Rotated by age, and not old enough."""
    promoted = seen.journal.promoted_at
    if asked.reason is not Reason.SCHEDULED or asked.max_age is None or promoted is None:
        return None
    if seen.at - promoted >= asked.max_age:
        return None
    return Decision(Step.NOTHING, "young", f"not due before {_clock(promoted + asked.max_age)}")


def due(seen: Observed, asked: Asked) -> Decision | None:
    """Nothing stands half-way and nothing speaks against it."""
    return Decision(Step.CREATE, "due", f"a new key is due ({asked.reason.value})")


# The order is the logic: what is half-way comes before what is new, nearest to the pivot first.
CHAIN: tuple[Check, ...] = (
    no_current,
    promoted_unrecorded,
    staged,
    unclaimed,
    unrolled,
    unproved,
    drifted,
    overdue,
    incident_overlap,
    satisfied,
    in_overlap,
    young,
    due,
)


def decide(seen: Observed, asked: Asked) -> Decision:
    """The next step. Total: `due` always speaks."""
    for check in CHAIN:
        decision = check(seen, asked)
        if decision is not None:
            return decision
    raise AssertionError("the last check always speaks")


def has_old_key(seen: Observed) -> bool:
    """Whether a rotation's old key has not been dealt with yet."""
    return bool(seen.journal.previous_fingerprint)


def _open(seen: Observed) -> bool:
    """A rotation of ours made CURRENT, and it was not proved yet."""
    return _made_by_us(seen) and seen.journal.promoted_at is not None and seen.journal.proved_at is None


def _made_by_us(seen: Observed) -> bool:
    return seen.current is not None and seen.journal.current_fingerprint == seen.current.fingerprint


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
