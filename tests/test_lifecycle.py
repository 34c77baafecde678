"""The decision: each check speaks for its own situation, and the order of the checks is the order of urgency."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.journal import Journal, notes
from keyturn.lifecycle import CHAIN, Asked, Observed, Reason, Step, decide
from keyturn.model import Mark, Stage, VersionRef, rotation_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=10)
OLD, NEW = VersionRef("1", "a" * 16), VersionRef("2", "b" * 16)

QUIET = Observed(NOW, {Stage.CURRENT: OLD}, Journal())
STAGED = Observed(
    NOW, {Stage.CURRENT: OLD, Stage.PENDING: NEW}, Journal(pending_key="key_2", pending_fingerprint=NEW.fingerprint)
)
PROMOTED = Journal(
    current_key="key_2",
    current_fingerprint=NEW.fingerprint,
    previous_key="key_1",
    previous_fingerprint=OLD.fingerprint,
    promoted_at=EARLIER,
)
PROVED = replace(PROMOTED, proved_at=EARLIER, retire_after=NOW + timedelta(hours=1))
AFTER = {Stage.CURRENT: NEW, Stage.PREVIOUS: OLD}
DONE = replace(PROVED, previous_key="", previous_fingerprint="", retire_after=None, retired_at=EARLIER)


SITUATIONS = {
    "no value at all stops": (Observed(NOW, {}, Journal()), Asked(NOW), Step.STOP, "no_current"),
    "nothing half-way, asked by hand: a new key": (QUIET, Asked(NOW), Step.CREATE, "due"),
    "staged and known: on to the canary": (STAGED, Asked(NOW), Step.VALIDATE, "staged"),
    "staged and unknown: adopt or clear": (replace(STAGED, journal=Journal()), Asked(NOW), Step.ADOPT, "unclaimed"),
    "staged by another rotation than the journal's: adopt or clear": (
        replace(STAGED, journal=Journal(pending_key="key_9", pending_fingerprint="c" * 16)),
        Asked(NOW),
        Step.ADOPT,
        "unclaimed",
    ),
    "swapped and not written down: write it down": (
        Observed(NOW, AFTER, Journal(pending_key="key_2", pending_fingerprint=NEW.fingerprint)),
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
    "proved, and a member is silent: no roll for that": (
        Observed(NOW, AFTER, PROVED, serving={"local": {"one": None}}),
        Asked(NOW),
        Step.WAIT,
        "in_overlap",
    ),
    "a value set by hand after a rotation: a new key when asked": (
        Observed(NOW, {Stage.CURRENT: VersionRef("3", "d" * 16)}, DONE, serving={"local": {"one": NEW}}),
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
    "in the overlap: wait": (Observed(NOW, AFTER, PROVED), Asked(NOW), Step.WAIT, "in_overlap"),
    "in the overlap, incident: retire first": (
        Observed(NOW, AFTER, PROVED),
        Asked(NOW, Reason.INCIDENT),
        Step.RETIRE,
        "incident_overlap",
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
        ("overdue", "due"),  # an old key is dealt with before there is another
        ("incident_overlap", "in_overlap"),
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
    assert not Mark.of("openai", "vault|b").is_ours(label)
    assert not Mark.of("openai-prod", "vault|a").is_ours(label)
    assert not mark.is_ours("keyturn-openai") and not mark.is_ours(label + "0")


def test_notes_round_trip_and_fit_every_store() -> None:
    journal = replace(PROVED, attempt=3, rotation=rotation_id(Mark.of("a", "b"), "c", 0), reason="manual")
    names = [field for field in Journal.__dataclass_fields__ if getattr(journal, field)]
    written = {key: value for key, value in notes(**{name: getattr(journal, name) for name in names}).items() if value}
    assert Journal.parse(written) == journal
    assert all(len(key) <= 24 and len(value) <= 120 for key, value in written.items())


def test_an_unreadable_note_is_as_if_never_written() -> None:
    assert Journal.parse({"promoted_at": "yesterday", "attempt": "many", "other": "x"}) == Journal()


def test_a_note_of_an_unknown_name_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        notes(nonsense="x")
