"""The decision: each check speaks for its own situation, and the order of the checks is the order of urgency."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.journal import Answered, Journal, Leaked, Turned, notes, words
from keyturn.lifecycle import CHAIN, Asked, Observed, Reason, Step, decide, old_keys
from keyturn.model import Mark, Stage, VersionRef, rotation_id
from keyturn.settings import ApprovalSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=10)
OLD, NEW = VersionRef("1", "a" * 16), VersionRef("2", "b" * 16)

QUIET = Observed(NOW, {Stage.CURRENT: OLD}, Journal())
THEIRS = VersionRef("3", "d" * 16)
STAGED = Observed(NOW, {Stage.CURRENT: OLD, Stage.PENDING: NEW}, Journal(keys={NEW.fingerprint: "key_2"}))
PROMOTED = Journal(
    keys={NEW.fingerprint: "key_2", OLD.fingerprint: "key_1"},
    current_fingerprint=NEW.fingerprint,
    promoted_at=EARLIER,
)
PROVED = replace(PROMOTED, proved_at=EARLIER, retire_after=NOW + timedelta(hours=1))
AFTER = {Stage.CURRENT: NEW, Stage.PREVIOUS: OLD}
TAKEN_BACK = replace(PROVED, current_fingerprint=OLD.fingerprint, back_from=NEW.fingerprint)
BACK = {Stage.CURRENT: OLD, Stage.PREVIOUS: NEW}
LEAKED = Leaked(NOW, True, OLD.fingerprint, "key_1")
DONE = replace(PROVED, keys={NEW.fingerprint: "key_2"}, retired_at=EARLIER)


ASKED_FIRST = ApprovalSettings.model_validate({"when": ["rotation"], "timeout": "15m", "then": "keep"})

SITUATIONS = {
    "no value at all stops": (Observed(NOW, {}, Journal()), Asked(NOW), Step.STOP, "no_current"),
    "nothing half-way, asked by hand: a new key": (QUIET, Asked(NOW), Step.CREATE, "due"),
    "staged and known: on to the canary": (STAGED, Asked(NOW), Step.VALIDATE, "staged"),
    "staged and unknown: adopt or clear": (replace(STAGED, journal=Journal()), Asked(NOW), Step.ADOPT, "unclaimed"),
    "staged by another rotation than the journal's: adopt or clear": (
        replace(STAGED, journal=Journal(keys={"c" * 16: "key_9"})),
        Asked(NOW),
        Step.ADOPT,
        "unclaimed",
    ),
    "swapped and not written down: write it down": (
        Observed(NOW, AFTER, Journal(keys={NEW.fingerprint: "key_2"})),
        Asked(NOW),
        Step.PROMOTE,
        "promoted_unrecorded",
    ),
    "an old value of ours put back by hand: goes on from there": (
        Observed(NOW, {Stage.CURRENT: OLD, Stage.PREVIOUS: NEW}, PROVED),
        Asked(NOW),
        Step.PROMOTE,
        "promoted_unrecorded",
    ),
    "promoted, one member behind: roll": (
        Observed(NOW, AFTER, PROMOTED, serving={"local": {"one": NEW, "two": OLD}}),
        Asked(NOW),
        Step.ROLL,
        "unrolled",
    ),
    "promoted, one member silent: roll": (
        Observed(NOW, AFTER, PROMOTED, serving={"local": {"one": NEW, "two": None}}),
        Asked(NOW),
        Step.ROLL,
        "unrolled",
    ),
    "rolled, not proved: prove": (
        Observed(NOW, AFTER, PROMOTED, serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.PROVE,
        "unproved",
    ),
    "proved, and a member fell back: roll": (
        Observed(NOW, AFTER, PROVED, serving={"local": {"one": OLD}}),
        Asked(NOW),
        Step.ROLL,
        "drifted",
    ),
    "promoted, and a workload was not rolled since: roll, whatever its members say": (
        Observed(NOW, AFTER, PROMOTED, serving={"cluster": {"pod": NEW}}, unrolled=("cluster/gateway",)),
        Asked(NOW),
        Step.ROLL,
        "unrolled",
    ),
    "proved, and a workload went back to an older template: roll": (
        Observed(NOW, AFTER, PROVED, serving={"cluster": {"pod": None}}, unrolled=("cluster/gateway",)),
        Asked(NOW),
        Step.ROLL,
        "drifted",
    ),
    "proved, and a member is silent: no roll for that": (
        Observed(NOW, AFTER, PROVED, serving={"local": {"one": None}}),
        Asked(NOW),
        Step.WAIT,
        "in_overlap",
    ),
    "a value set by hand after a rotation: a new key when asked": (
        Observed(NOW, {Stage.CURRENT: THEIRS}, DONE, serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "a value set by hand in the overlap, which no member serves: a new key brings them on": (
        Observed(NOW, {Stage.CURRENT: THEIRS}, PROVED, serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "the same, and the overlap is over: no evidence for a revoke can be had, a new key comes first": (
        Observed(NOW, {Stage.CURRENT: THEIRS}, replace(PROVED, retire_after=NOW), serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "a value set by hand that every member serves, and the overlap is over: retire": (
        Observed(NOW, {Stage.CURRENT: THEIRS}, replace(PROVED, retire_after=NOW), serving={"local": {"one": THEIRS}}),
        Asked(NOW),
        Step.RETIRE,
        "overdue",
    ),
    "proved, and a further secret holds something else: roll": (
        Observed(NOW, AFTER, DONE, serving={"local": {"one": NEW}}, lagging=("aws:prod",)),
        Asked(NOW),
        Step.ROLL,
        "drifted",
    ),
    "promoted, and a further secret lags: roll": (
        Observed(NOW, AFTER, PROMOTED, serving={"local": {"one": NEW}}, lagging=("aws:prod",)),
        Asked(NOW),
        Step.ROLL,
        "unrolled",
    ),
    "a staged value of ours that left PENDING unused: not in the way": (
        Observed(NOW, {Stage.CURRENT: OLD}, Journal(keys={NEW.fingerprint: "key_2"})),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "overlap over: retire": (
        Observed(NOW, AFTER, replace(PROVED, retire_after=NOW)),
        Asked(NOW),
        Step.RETIRE,
        "overdue",
    ),
    "overlap over, and a person is to be asked: wait": (
        Observed(NOW, AFTER, replace(PROVED, retire_after=NOW)),
        Asked(NOW, approval=ASKED_FIRST),
        Step.WAIT,
        "asking",
    ),
    "overlap over, and a person has said no: wait": (
        Observed(NOW, AFTER, replace(PROVED, retire_after=NOW, answered=Answered(NOW, False, OLD.fingerprint))),
        Asked(NOW, approval=ASKED_FIRST),
        Step.WAIT,
        "kept",
    ),
    "overlap over, and a person has said yes: retire": (
        Observed(NOW, AFTER, replace(PROVED, retire_after=NOW, answered=Answered(NOW, True, OLD.fingerprint))),
        Asked(NOW, approval=ASKED_FIRST),
        Step.RETIRE,
        "overdue",
    ),
    "in the overlap: wait": (Observed(NOW, AFTER, PROVED), Asked(NOW), Step.WAIT, "in_overlap"),
    "in the overlap, incident: retire first": (
        Observed(NOW, AFTER, PROVED),
        Asked(NOW, Reason.INCIDENT),
        Step.RETIRE,
        "incident_overlap",
    ),
    "an incident, and a rotation with an overlap came between the call and this run: retire": (
        Observed(NOW, AFTER, PROVED),
        Asked(EARLIER, Reason.INCIDENT, overlap=timedelta(0)),
        Step.RETIRE,
        "incident_overlap",
    ),
    "an incident with an overlap of its own, which is not over: nothing": (
        Observed(NOW, AFTER, replace(PROVED, promoted_at=NOW, proved_at=NOW)),
        Asked(NOW, Reason.INCIDENT, overlap=timedelta(minutes=5)),
        Step.NOTHING,
        "satisfied",
    ),
    "an incident, and the old key could not be revoked: a new key all the same": (
        Observed(NOW, AFTER, PROVED),
        Asked(NOW, Reason.INCIDENT, tried_to_retire=True),
        Step.CREATE,
        "overtaken",
    ),
    "an incident, and the last rotation cannot be proved: a new key all the same": (
        Observed(NOW, AFTER, PROMOTED, serving={"local": {"one": NEW}}),
        Asked(NOW, Reason.INCIDENT),
        Step.CREATE,
        "overtaken",
    ),
    "an incident, and what was promoted since is not proved: prove": (
        Observed(NOW, AFTER, replace(PROMOTED, promoted_at=NOW), serving={"local": {"one": NEW}}),
        Asked(NOW, Reason.INCIDENT),
        Step.PROVE,
        "unproved",
    ),
    "asked before the last promotion: nothing": (
        Observed(NOW, AFTER, DONE),
        Asked(EARLIER - timedelta(minutes=1)),
        Step.NOTHING,
        "satisfied",
    ),
    "scheduled, younger than its maximum age: nothing": (
        Observed(NOW, AFTER, DONE),
        Asked(NOW, Reason.SCHEDULED, max_age=timedelta(days=30)),
        Step.NOTHING,
        "young",
    ),
    "taken back, rolled back and proved: the same key again": (
        Observed(NOW, BACK, TAKEN_BACK, serving={"local": {"one": OLD}}),
        Asked(NOW),
        Step.AGAIN,
        "rolled_back",
    ),
    "taken back, and a member still serves the other: roll": (
        Observed(NOW, BACK, replace(TAKEN_BACK, proved_at=None), serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.ROLL,
        "unrolled",
    ),
    "taken back, and not tried again before its time was over: retire": (
        Observed(NOW, BACK, replace(TAKEN_BACK, retire_after=NOW), serving={"local": {"one": OLD}}),
        Asked(NOW),
        Step.RETIRE,
        "overdue",
    ),
    "taken back for good, and in its overlap: wait": (
        Observed(NOW, {Stage.CURRENT: OLD}, TAKEN_BACK, serving={"local": {"one": OLD}}),
        Asked(NOW),
        Step.WAIT,
        "in_overlap",
    ),
    "about to be taken back, which did not happen: forward": (
        Observed(NOW, AFTER, replace(PROMOTED, back_from=NEW.fingerprint), serving={"local": {"one": NEW}}),
        Asked(NOW),
        Step.PROVE,
        "unproved",
    ),
    "parked, by schedule: nothing, whatever stands half-way": (
        replace(STAGED, journal=replace(STAGED.journal, parked="5 runs in a row failed")),
        Asked(NOW, Reason.SCHEDULED),
        Step.PARKED,
        "parked",
    ),
    "parked, by hand: goes on": (
        replace(STAGED, journal=replace(STAGED.journal, parked="5 runs in a row failed")),
        Asked(NOW),
        Step.VALIDATE,
        "staged",
    ),
    "failed a moment ago, by schedule: waits": (
        replace(QUIET, journal=Journal(failures=2, failed_at=NOW)),
        Asked(NOW, Reason.SCHEDULED),
        Step.WAIT,
        "backing_off",
    ),
    "the text in service was turned away from, and its successor is not there: a new key": (
        replace(QUIET, journal=Journal(turned=Turned(NOW, OLD.fingerprint, "key_1"))),
        Asked(NOW, Reason.SCHEDULED, max_age=timedelta(days=30)),
        Step.CREATE,
        "turned",
    ),
    "the key in service was reported as leaked: a new key, whoever comes by": (
        replace(QUIET, journal=Journal(parked="by hand", failures=3, failed_at=NOW, leaked=LEAKED)),
        Asked(NOW, Reason.SCHEDULED),
        Step.CREATE,
        "leaked",
    ),
    "the same, promoted after the call: it was named, so it is replaced": (
        Observed(NOW, AFTER, replace(DONE, promoted_at=NOW, leaked=replace(LEAKED, text=NEW.fingerprint))),
        Asked(NOW, Reason.INCIDENT),
        Step.CREATE,
        "overtaken",
    ),
    "the old key was reported as leaked: it goes before the end of its overlap": (
        Observed(NOW, AFTER, replace(PROVED, leaked=LEAKED)),
        Asked(NOW, Reason.SCHEDULED),
        Step.RETIRE,
        "overdue",
    ),
    "the same, and nothing is proved yet: the proof": (
        Observed(NOW, AFTER, replace(PROMOTED, leaked=LEAKED)),
        Asked(NOW, Reason.SCHEDULED),
        Step.PROVE,
        "unproved",
    ),
    "the same, and parked: a new key all the same": (
        replace(QUIET, journal=Journal(parked="by hand", turned=Turned(NOW, OLD.fingerprint, "key_1"))),
        Asked(NOW, Reason.SCHEDULED),
        Step.CREATE,
        "turned",
    ),
    "another text was turned away from, long ago: as if never": (
        replace(QUIET, journal=Journal(turned=Turned(EARLIER, NEW.fingerprint, "key_1"))),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "failed a moment ago, by hand: at once": (
        replace(QUIET, journal=Journal(failures=2, failed_at=NOW)),
        Asked(NOW),
        Step.CREATE,
        "due",
    ),
    "failed long ago, by schedule: tried again": (
        replace(QUIET, journal=Journal(failures=2, failed_at=EARLIER)),
        Asked(NOW, Reason.SCHEDULED),
        Step.CREATE,
        "due",
    ),
    "asked by hand, younger than its maximum age: a new key": (
        Observed(NOW, AFTER, DONE),
        Asked(NOW, Reason.MANUAL, max_age=timedelta(days=30)),
        Step.CREATE,
        "due",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_next_step(situation: str) -> None:
    seen, asked, step, check = SITUATIONS[situation]
    decision = decide(seen, asked)
    assert (decision.step, decision.check) == (step, check)
    assert decision.sentence


def test_every_check_decides_some_situation() -> None:
    assert {check.__name__ for check in CHAIN} == {check for *_, check in SITUATIONS.values()}


def test_the_order_is_half_way_first_and_new_last() -> None:
    names = [check.__name__ for check in CHAIN]
    pairs = [
        ("no_current", "promoted_unrecorded"),
        ("promoted_unrecorded", "staged"),  # after the pivot nothing is validated or undone again
        ("staged", "unclaimed"),
        ("staged", "due"),  # a staged key is used before another one is made
        ("unrolled", "unproved"),
        ("unproved", "overdue"),  # nothing is revoked before it was proved
        ("drifted", "overdue"),
        ("asking", "overdue"),  # nothing is revoked before a person was asked, where one is to be
        ("overdue", "due"),  # an old key is dealt with before there is another
        ("promoted_unrecorded", "incident_overlap"),  # what it displaced is not known before it is written down
        ("staged", "overtaken"),  # the nearest new key is the fastest
        ("incident_overlap", "overtaken"),
        ("overtaken", "unproved"),  # a leak does not wait for the proof of the leaked key
        ("parked", "staged"),  # nothing is begun by itself, also not the end of something
        ("overdue", "rolled_back"),  # a key that is to be tried again does not live for ever
        ("rolled_back", "satisfied"),  # that it was taken back is no rotation
        ("rolled_back", "in_overlap"),
        ("satisfied", "in_overlap"),
        ("satisfied", "due"),
        ("in_overlap", "due"),
        ("young", "due"),
    ]
    for first, then in pairs:
        assert names.index(first) < names.index(then), (first, then)
    assert names[-1] == "due"


def test_a_rotations_id_is_the_same_for_every_worker_and_new_for_every_value_and_attempt() -> None:
    mark, other = Mark.of("openai-prod", "vault|a"), Mark.of("openai-prod", "vault|b")
    ids = [rotation_id(mark, "f1", 0), rotation_id(mark, "f2", 0), rotation_id(mark, "f1", 1), rotation_id(other, "f1", 0)]
    assert rotation_id(mark, "f1", 0) == ids[0]
    assert len(set(ids)) == 4


def test_a_label_is_recognised_by_its_own_installation_and_credential_alone() -> None:
    mark = Mark.of("openai", "vault|a")
    label = mark.label(rotation_id(mark, "f", 0))
    assert mark.is_ours(label)
    assert mark.rotation_of(label) == rotation_id(mark, "f", 0), "the label tells the whole id"
    with pytest.raises(ValueError, match="not a label"):
        mark.rotation_of("keyturn-openai")
    assert not Mark.of("openai", "vault|b").is_ours(label)
    assert not Mark.of("openai-prod", "vault|a").is_ours(label)
    assert not mark.is_ours("keyturn-openai") and not mark.is_ours(label + "0")


def written_down(journal: Journal) -> dict[str, str]:
    values = {name: getattr(journal, name) for name in Journal.__dataclass_fields__}
    return {key: value for key, value in notes(about=journal.current_fingerprint, **values).items() if value}


def test_notes_round_trip_and_fit_every_store() -> None:
    journal = replace(PROVED, attempt=3, rotation=rotation_id(Mark.of("a", "b"), "c", 0), reason="manual")
    journal = replace(
        journal, back_from="c" * 16, failures=4, failed_at=NOW, failure=words("(x), y"), parked=words("z" * 300)
    )
    assert Journal.parse(written_down(journal)) == journal
    for key, value in written_down(journal).items():
        assert re.fullmatch(r"[a-z_]{1,24}", key) and re.fullmatch(r"[A-Za-z0-9 _.:/=+@-]{0,120}", value)


def test_a_time_is_void_for_any_value_but_the_one_it_was_written_about() -> None:
    late = notes(about=OLD.fingerprint, proved_at=NOW, rolled_at=NOW, retire_after=NOW, watched_from=NOW)
    journal = Journal.parse({**written_down(DONE), **{key: value for key, value in late.items() if value}})
    assert (journal.proved_at, journal.rolled_at, journal.retire_after, journal.watched_from) == (None, None, None, None)
    with pytest.raises(KeyError):
        notes(proved_at=NOW)


def test_noting_one_key_leaves_every_other_noted() -> None:
    both = written_down(PROVED)
    gone = {key for key, value in notes(keys={OLD.fingerprint: None}).items() if value is None}
    assert Journal.parse({key: both[key] for key in both.keys() - gone}).keys == {NEW.fingerprint: "key_2"}


def test_what_was_promoted_last_is_not_old_before_its_successor_is_written_down() -> None:
    assert old_keys(PROVED, {Stage.CURRENT: THEIRS}) == {OLD.fingerprint: "key_1"}
    assert old_keys(replace(PROVED, current_fingerprint=THEIRS.fingerprint), {Stage.CURRENT: THEIRS}) == PROVED.keys


def test_an_unreadable_note_is_as_if_never_written() -> None:
    assert Journal.parse({"promoted_at": "yesterday", "attempt": "many", "other": "x"}) == Journal()


def test_a_note_of_an_unknown_name_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        notes(nonsense="x")
