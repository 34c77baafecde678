"""Notes fit into AWS tags, and come back."""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from keyturn.journal import Answered, Journal, Leaked, Turned, notes, words
from keyturn.stores.aws_tags import MOST, changes, notes_of, pack, unpack

ALPHABET = string.ascii_letters + string.digits + " _.:/=+@-"
KEYS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=24)
OTHERS = st.dictionaries(KEYS.filter(lambda name: not name.startswith("key_")), st.text(ALPHABET, max_size=120), max_size=12)
NOTES = st.dictionaries(KEYS, st.text(ALPHABET, max_size=120), max_size=12)


@given(NOTES)
def test_notes_come_back(notes: dict[str, str]) -> None:
    assert unpack(pack(notes)) == notes


@given(NOTES)
def test_every_value_is_one_that_aws_takes(notes: dict[str, str]) -> None:
    for value in pack(notes):
        assert len(value) <= 255
        assert re.fullmatch(r"[\w .:/=+@-]+", value)
        assert value == value.strip()
        assert not value.lower().startswith("aws:")


def test_twelve_notes_of_full_length_need_eight_tags() -> None:
    assert len(pack({f"{letter * 24}": "x" * 120 for letter in string.ascii_lowercase[:12]})) == 8


APART = st.dictionaries(
    st.text(string.ascii_lowercase + "_", min_size=1, max_size=20).map("key_".__add__), st.text(ALPHABET, max_size=120)
)


def done(tags: dict[str, str], notes: Mapping[str, str | None]) -> dict[str, str]:
    changed, surplus = changes(tags, notes)
    return {name: text for name, text in {**tags, **changed}.items() if name not in surplus}


@given(OTHERS, APART, APART)
def test_who_writes_other_notes_touches_no_tag_apart(
    others: dict[str, str], first: dict[str, str], second: dict[str, str]
) -> None:
    tags = done({}, first)
    assert notes_of(tags) == first
    changed, surplus = changes({}, {**others, **second})  # by a look that saw nothing of the first
    tags = {name: text for name, text in {**tags, **changed}.items() if name not in surplus}
    assert notes_of(tags) == {**others, **first, **second}
    assert notes_of(done(tags, dict.fromkeys(second))) == {
        name: text for name, text in {**others, **first}.items() if name not in second
    }


def test_notes_of_bad_times_fit_into_what_preflight_counts_on() -> None:
    """As long as they get: it has failed, it is parked, and three keys are known; one was turned, and one has
    leaked, of which a person was asked."""
    times = {each.name for each in fields(Journal) if each.name.endswith(("_at", "_after"))} | {"watched_from"}
    written = notes(
        about="0" * 16,
        rotation=str(uuid.uuid4()),
        reason="scheduled",
        **dict.fromkeys(("pending_fingerprint", "current_fingerprint", "back_from"), "0" * 16),
        **dict.fromkeys(times, datetime(2026, 1, 1, tzinfo=UTC)),
        **dict.fromkeys(("attempt", "failures"), 10),
        **dict.fromkeys(("failure", "parked", "proof"), words("x" * 200)),
        by_hand=frozenset(str(number) * 16 for number in range(7)),
        turned=Turned(datetime(2026, 1, 1, tzinfo=UTC), "0" * 16, "key_" + "z" * 40),
        leaked=Leaked(datetime(2026, 1, 1, tzinfo=UTC), True, "0" * 16, "key_" + "z" * 40),
        answered=Answered(datetime(2026, 1, 1, tzinfo=UTC), True, "0" * 16),
        keys={str(number) * 16: "key_" + "z" * 40 for number in range(3)},
    )
    assert {name for name in written if not name.startswith("key_")} == {each.name for each in fields(Journal)} - {
        "keys",
        "turned",
        "leaked",
        "answered",
    }
    assert len(done({}, written)) == MOST


@given(NOTES, NOTES)
def test_values_left_over_from_longer_notes_are_ignored(longer: dict[str, str], notes: dict[str, str]) -> None:
    values = pack(notes)
    left_over = pack(longer)[len(values) :]
    if values:
        assert unpack(values + left_over) == notes


@given(st.lists(st.text(max_size=60)))
def test_tags_changed_by_hand_are_no_error(values: list[str]) -> None:
    unpack(values)
    unpack([f"3.{value}." for value in values])


@given(st.lists(st.dictionaries(KEYS, st.none() | st.text(ALPHABET, max_size=120), max_size=8), max_size=6))
def test_what_a_longer_line_has_left_over_is_never_read_and_stays_within_what_is_ours(
    written: list[dict[str, str | None]],
) -> None:
    tags: dict[str, str] = {}
    expected: dict[str, str] = {}
    for each in written:
        tags = done(tags, each)
        expected = {name: text for name, text in {**expected, **each}.items() if text is not None}
        assert notes_of(tags) == expected
        lines = [name for name in tags if not name.startswith("key_")]
        assert len(lines) <= max(MOST, len(pack(expected)))
        assert expected or not tags


def test_a_line_that_becomes_shorter_takes_one_call() -> None:
    tags = done({}, {"a": "x" * 120, "b": "x" * 120, "c": "x" * 120})
    assert len(tags) == 2
    assert changes(tags, {"b": None, "c": None})[1] == []
    assert changes(tags, dict.fromkeys("abc"))[1] == ["0", "1"]
