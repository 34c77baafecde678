"""From what is observed to the next step. Pure: no I/O, no clock; a flat list of named checks, the first one decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from keyturn.approval import Question, question
from keyturn.journal import Journal, Leaked
from keyturn.model import KeyRef, Serving, Stage, VersionRef
from keyturn.patience import Patience

if TYPE_CHECKING:
    from keyturn.settings import ApprovalSettings


class Reason(StrEnum):
    """Why a rotation is asked for."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    INCIDENT = "incident"


class Policy(StrEnum):
    """What goes first in an incident. CONFIGURED: each credential's `on_incident`."""

    CONFIGURED = "configured"
    PROVE_FIRST = "prove_first"
    REVOKE_FIRST = "revoke_first"


class Step(StrEnum):
    """Where the rotation goes on."""

    STOP = "stop"
    PARKED = "parked"
    CREATE = "create"
    AGAIN = "again"
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
    """What a run was asked to do. `at`: when it was asked, which is not when it started.

    `tried_to_retire`: in an incident, that this run has dealt with the old key already, as far as it could.
    """

    at: datetime
    reason: Reason = Reason.MANUAL
    overlap: timedelta = timedelta(hours=24)
    max_age: timedelta | None = None
    tried_to_retire: bool = False
    patience: Patience = field(default_factory=Patience)
    approval: ApprovalSettings | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The three observations that everything is rebuilt from, and the journal.

    `keys`: the provider's keys, None where they could not be listed. `lagging`: further secrets that do not hold what the
    deciding one holds. `unrolled`: workloads, as `fleet/workload`, that were not rolled since the promote. `room`: whether
    the provider takes one more key. `problems`: what could not be observed, in words (only a tolerant observation has any).
    """

    at: datetime
    stages: Mapping[Stage, VersionRef]
    journal: Journal
    keys: tuple[KeyRef, ...] | None = None
    serving: Serving = field(default_factory=dict)
    lagging: tuple[str, ...] = ()
    unrolled: tuple[str, ...] = ()
    room: bool = True
    problems: tuple[str, ...] = ()

    @property
    def current(self) -> VersionRef | None:
        return self.stages.get(Stage.CURRENT)

    @property
    def behind(self) -> tuple[str, ...]:
        """The further secrets that lag, the workloads that were not rolled since, and the members that are not known to
        serve CURRENT, as `fleet/member`."""
        members = (
            f"{fleet}/{member}"
            for fleet, members in self.serving.items()
            for member, version in members.items()
            if version is None or version != self.current
        )
        return (*self.lagging, *self.unrolled, *members)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The further secrets and the members that are known to hold something else than CURRENT, and the workloads whose
        members cannot be known to hold it."""
        members = (
            f"{fleet}/{member}"
            for fleet, members in self.serving.items()
            for member, version in members.items()
            if version is not None and version != self.current
        )
        return (*self.lagging, *self.unrolled, *members)

    @property
    def ends(self) -> datetime | None:
        """When CURRENT ends by itself, or may: the provider was asked to give its key another text. None: it does not."""
        turned = self.journal.turned_from(self.current.fingerprint) if self.current is not None else None
        return turned.ends if turned is not None else None

    @property
    def leaked(self) -> Leaked | None:
        """What was reported of the key in service; None: nothing."""
        return self.journal.leaked_as(self.current.fingerprint) if self.current is not None else None

    @property
    def leaked_and_old(self) -> tuple[str, ...]:
        """The fingerprints of old keys that were reported as leaked: no overlap is waited for."""
        return tuple(each for each in self.old_keys if self.journal.leaked_as(each) is not None)

    @property
    def old_keys(self) -> Mapping[str, str]:
        return old_keys(self.journal, self.stages)


def old_keys(journal: Journal, stages: Mapping[Stage, VersionRef]) -> Mapping[str, str]:
    """fingerprint -> key id of every value that keyturn staged or displaced, and that is neither CURRENT nor PENDING.

    What the journal has for current is not among them, also when CURRENT is another by now: the overlap of the one that was
    displaced begins when that is written down.
    """
    held = {stages[stage].fingerprint for stage in (Stage.CURRENT, Stage.PENDING) if stage in stages}
    held.add(journal.current_fingerprint)
    return {fingerprint: key for fingerprint, key in journal.keys.items() if fingerprint not in held}


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


def leaked(seen: Observed, asked: Asked) -> Decision | None:
    """An incident's run died, or failed, before the key had a successor: whoever comes by goes on with it. Neither parking
    nor a pause holds that up: the leaked key is in service, or nothing is."""
    if asked.reason is Reason.INCIDENT or seen.leaked is None:
        return None
    return Decision(Step.CREATE, "leaked", "the key in service was reported as leaked: a new key replaces it")


def parked(seen: Observed, asked: Asked) -> Decision | None:
    """Given up by itself: a person has to say that it may go on, by a run of their own. But what ends is not waited for."""
    if asked.reason is not Reason.SCHEDULED or not seen.journal.parked or seen.ends is not None:
        return None
    return Decision(Step.PARKED, "parked", f"parked: {seen.journal.parked}")


def backing_off(seen: Observed, asked: Asked) -> Decision | None:
    """The last runs failed, and it is too early for the next one that nobody asks for."""
    after = next_try(seen, asked)
    if asked.reason is not Reason.SCHEDULED or after is None or seen.at >= after:
        return None
    count = "the last run" if seen.journal.failures == 1 else f"the last {seen.journal.failures} runs"
    return Decision(Step.WAIT, "backing_off", f"{count} failed ({seen.journal.failure}): tried again after {_clock(after)}")


def promoted_unrecorded(seen: Observed, asked: Asked) -> Decision | None:
    """A value whose key we know is CURRENT, and that was not written down: a run died, or slept, just after the pivot."""
    if not _is_unrecorded(seen):
        return None
    return Decision(Step.PROMOTE, "promoted_unrecorded", "the new key was promoted, but not yet written down: goes on there")


def staged(seen: Observed, asked: Asked) -> Decision | None:
    """A value stands as PENDING and the journal knows its key: a run died between write and promote."""
    pending = seen.stages.get(Stage.PENDING)
    if pending is None or pending.fingerprint not in seen.journal.keys:
        return None
    return Decision(Step.VALIDATE, "staged", "a new key is written and not yet promoted: goes on with the canary")


def unclaimed(seen: Observed, asked: Asked) -> Decision | None:
    """A value stands as PENDING and the journal knows nothing of it: a run died just after staging it, or it is foreign."""
    if Stage.PENDING not in seen.stages:
        return None
    return Decision(Step.ADOPT, "unclaimed", "a staged value was found that no run has written down: adopts or clears it")


def incident_overlap(seen: Observed, asked: Asked) -> Decision | None:
    """In an incident no overlap is waited for but its own. (Unproved, an old key cannot go yet.)

    Also when a rotation with an overlap of its own came between the call and this run: the leaked key is the old one then.
    """
    proved = seen.journal.proved_at
    if asked.reason is not Reason.INCIDENT or asked.tried_to_retire or not seen.old_keys or proved is None:
        return None
    if _promoted_since(seen, asked.at) and seen.at < proved + asked.overlap:
        return None
    return Decision(Step.RETIRE, "incident_overlap", "an incident: the old key of the last rotation is revoked first")


def overtaken(seen: Observed, asked: Asked) -> Decision | None:
    """In an incident nothing that was promoted before the call is good enough, and nothing it left undone is waited for;
    but where the provider has no room for a third key, what is half-way has to end first."""
    if asked.reason is not Reason.INCIDENT or _promoted_since(seen, asked.at):
        return None
    if not seen.room and (_is_open(seen) or (seen.old_keys and not asked.tried_to_retire)):
        return None
    return Decision(Step.CREATE, "overtaken", "an incident: a new key replaces the one in service")


def unrolled(seen: Observed, asked: Asked) -> Decision | None:
    """Promoted, and some member is not known to serve it."""
    if not _is_open(seen) or not seen.behind:
        return None
    return Decision(Step.ROLL, "unrolled", f"the new key is promoted; not yet served by {', '.join(seen.behind)}")


def unproved(seen: Observed, asked: Asked) -> Decision | None:
    """Every member serves it, and that was not proved yet."""
    if not _is_open(seen):
        return None
    return Decision(Step.PROVE, "unproved", "every member is rolled; the proof is missing")


def drifted(seen: Observed, asked: Asked) -> Decision | None:
    """The rotation was proved, and a member has fallen back since. (A value set by a person is another matter: due.)"""
    if not seen.drifted or not _made_by_us(seen) or seen.journal.proved_at is None:
        return None
    return Decision(Step.ROLL, "drifted", f"{', '.join(seen.drifted)} does not serve the current key")


def asking(seen: Observed, asked: Asked) -> Decision | None:
    """The old key could be ended, and a person is to say first whether it may."""
    held = _held_back(seen, asked)
    return Decision(Step.WAIT, "asking", held.sentence) if held is not None and held.until else None


def kept(seen: Observed, asked: Asked) -> Decision | None:
    """The old key could be ended, and a person has said no; or nobody has said anything, and then it is kept."""
    held = _held_back(seen, asked)
    return Decision(Step.WAIT, "kept", held.sentence) if held is not None else None


def overdue(seen: Observed, asked: Asked) -> Decision | None:
    """The overlap is over, and the old key still lives."""
    after = seen.journal.retire_after
    if seen.leaked_and_old and after is not None and not _stranded(seen):
        return Decision(Step.RETIRE, "overdue", "an old key was reported as leaked: it is to be revoked")
    if not seen.old_keys or after is None or seen.at < after or _stranded(seen):
        return None
    ended = f"the overlap ended at {_clock(after)}: the old key is to be "
    by_hand = seen.journal.by_hand >= seen.old_keys.keys()
    return Decision(Step.RETIRE, "overdue", ended + ("deleted by a person, who was asked to" if by_hand else "revoked"))


def in_overlap(seen: Observed, asked: Asked) -> Decision | None:
    """The text of an old key is held as PREVIOUS, for the way back and for seeing it refused: one at a time."""
    after = seen.journal.retire_after
    if not seen.old_keys or after is None or _stranded(seen):
        return None
    return Decision(Step.WAIT, "in_overlap", f"the last rotation's old key lives until {_clock(after)}: retire it first")


def rolled_back(seen: Observed, asked: Asked) -> Decision | None:
    """The members did not take the last key, and it was taken back: there it is still, so none is created."""
    previous = seen.stages.get(Stage.PREVIOUS)
    if previous is None or previous.fingerprint != seen.journal.back_from or not _made_by_us(seen):
        return None
    return Decision(Step.AGAIN, "rolled_back", "the last key was taken back from the members: it is tried again")


def turned(seen: Observed, asked: Asked) -> Decision | None:
    """The provider was asked to give the key in service another text, and that is not there: CURRENT ends by itself."""
    if seen.ends is None:
        return None
    ends = f"the text in service may end by itself at {_clock(seen.ends)}"
    return Decision(Step.CREATE, "turned", f"{ends}: a new key replaces it")


def satisfied(seen: Observed, asked: Asked) -> Decision | None:
    """Another run has rotated since this one was asked for: a double click, or a burst after an outage."""
    promoted = seen.journal.promoted_at
    if promoted is None or not _promoted_since(seen, asked.at):
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
    leaked,
    parked,
    backing_off,
    promoted_unrecorded,
    staged,
    unclaimed,
    incident_overlap,
    overtaken,
    unrolled,
    unproved,
    drifted,
    asking,
    kept,
    overdue,
    rolled_back,
    turned,
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


def next_try(seen: Observed, asked: Asked) -> datetime | None:
    """From when on a credential whose last run failed is tried again by itself; None where it did not fail."""
    journal = seen.journal
    if not journal.failures or journal.failed_at is None:
        return None
    salt = seen.current.fingerprint if seen.current else ""
    return asked.patience.next_try(journal.failures, journal.failed_at, salt)


def is_promoted_since(seen: Observed, moment: datetime) -> bool:
    """Whether CURRENT was promoted at that time or later: then it is not what was complained of."""
    return _made_by_us(seen) and _promoted_since(seen, moment)


def is_under_way(seen: Observed) -> bool:
    """A rotation of ours made CURRENT, written down or not, and it was not proved yet: not everybody has to serve it."""
    return _is_unrecorded(seen) or _is_open(seen)


def _is_unrecorded(seen: Observed) -> bool:
    return seen.current is not None and seen.current.fingerprint in seen.journal.keys and not _made_by_us(seen)


def _is_open(seen: Observed) -> bool:
    return _made_by_us(seen) and seen.journal.promoted_at is not None and seen.journal.proved_at is None


def _made_by_us(seen: Observed) -> bool:
    return seen.current is not None and seen.journal.current_fingerprint == seen.current.fingerprint


def _held_back(seen: Observed, asked: Asked) -> Question | None:
    """What a person was asked of the old keys whose time has come, where none of them may be ended."""
    after = seen.journal.retire_after
    if after is None or _stranded(seen):
        return None
    due = seen.leaked_and_old or (tuple(seen.old_keys) if seen.at >= after else ())
    held = [question(asked.approval, seen.journal, each, seen.at) for each in due]
    return held[0] if held and None not in held else None


def _stranded(seen: Observed) -> bool:
    """A person's value is CURRENT, and not all serve it: no evidence can be had, and only a new rotation moves them on."""
    return not _made_by_us(seen) and bool(seen.drifted)


def _promoted_since(seen: Observed, moment: datetime) -> bool:
    promoted = seen.journal.promoted_at
    return promoted is not None and promoted >= moment.replace(microsecond=0) and seen.leaked is None


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
