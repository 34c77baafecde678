"""Notes fit into AWS tags, and come back."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from keyturn.stores.aws_tags import MOST, pack, unpack

ALPHABET = string.ascii_letters + string.digits + " _.:/=+@-"
KEYS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=24)
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


def test_notes_of_bad_times_fit_into_what_preflight_counts_on() -> None:
    notes = {letter * 20: "x" * 55 for letter in string.ascii_lowercase[:14]}
    assert sum(len(key) + len(text) for key, text in notes.items()) == 1050
    assert len(pack(notes)) == MOST


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
