"""Notes come back as they were written; what somebody else wrote there is as if never written."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.journal import Answered, Journal, Leaked, Turned, notes, words
from keyturn.patience import Patience
from keyturn.stores.aws_tags import pack, unpack
from tests.hostile import fuzz, texts

ABOUT = "0123456789abcdef"
FINGERPRINTS = st.text("0123456789abcdef", min_size=16, max_size=16)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2299, 12, 31), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=0)
)
WORDS = st.text().map(words)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("attempt", "failures"), st.integers(0, 10**9 - 1)),
    **dict.fromkeys(("staged_at", "promoted_at", "retired_at", "failed_at"), TIMES),
    **dict.fromkeys(("rolled_at", "proved_at", "retire_after", "watched_from"), TIMES),
    **dict.fromkeys(("rotation", "reason", "failure", "parked", "proof"), WORDS),
    **dict.fromkeys(("pending_fingerprint", "back_from"), FINGERPRINTS),
    "by_hand": st.frozensets(FINGERPRINTS, max_size=7),
    "leaked": st.builds(Leaked, TIMES, st.booleans(), FINGERPRINTS, st.text("abc_1-", max_size=60)),
    "answered": st.builds(Answered, TIMES, st.booleans(), FINGERPRINTS),
    "turned": st.builds(Turned, TIMES, FINGERPRINTS, st.text("abc_1-", min_size=1)),
}


def test_every_note_is_tried() -> None:
    assert {*KINDS, "keys", "current_fingerprint"} == {each.name for each in fields(Journal)}


@fuzz(60)
@given(st.fixed_dictionaries({}, optional=KINDS), st.dictionaries(FINGERPRINTS, st.text("abc_1", min_size=1), max_size=3))
def test_notes_come_back(values: dict[str, Any], keys: dict[str, str]) -> None:
    written = notes(about=ABOUT, keys=keys, current_fingerprint=ABOUT, **values)
    kept = {name: text for name, text in written.items() if text is not None}
    assert Journal.parse(kept) == Journal(current_fingerprint=ABOUT, keys=keys, **values)
    if all(len(text) < 1000 for text in kept.values()):
        assert Journal.parse(unpack(pack(kept))) == Journal.parse(kept)


NOTED = (
    st.sampled_from(
        [
            *(each.name for each in fields(Journal)),
            "key_",
            "key_aaaaaaaaaaaaaaaa",
            "key_turned",
            "key_reported",
            "key_answered",
            "key_x",
            "KEY_a",
        ]
    )
    | texts
)
HOSTILE = st.sampled_from(
    [
        *("9" * 5000, "-1", "\u0663", "\u00b2", "1e9", " 1", "1\n"),
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+00:00"),
        *(
            "2026-1-1T0:0:0Z",
            "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
            "2026-01-01T00:00:61Z",
            f"2026-01-01T00:00:00Z {ABOUT}",
        ),
        *(ABOUT, f"2026-01-01T00:00:00Z {ABOUT}", f"{'9' * 5000} {ABOUT}", f"9999-12-31T23:59:59Z {ABOUT}", " ", "unknown"),
    ]
)


@fuzz(150)
@given(st.dictionaries(NOTED, HOSTILE | texts, max_size=8))
def test_any_notes_are_read_and_can_be_reckoned_with(found: dict[str, str]) -> None:
    journal = Journal.parse(found)
    longest = timedelta(days=36500)
    for each in fields(Journal):
        value = getattr(journal, each.name)
        if isinstance(value, datetime):
            assert value - longest < value + longest
    assert 0 <= journal.attempt < 10**9
    assert journal.failures >= 0
    if journal.failed_at:
        assert Patience().next_try(journal.failures, journal.failed_at, "x") > journal.failed_at
    assert all(key in ABOUT for fingerprint in journal.keys for key in fingerprint)
    assert isinstance(journal.pending_key + journal.current_key, str)


@pytest.mark.parametrize("text", ["9" * 5000, "-1", "\u0663", "1.0", "", " 1", "1" * 10])
def test_a_count_that_is_none_is_zero(text: str) -> None:
    """A count of 5,000 digits failed with an error of Python's."""
    assert Journal.parse({"attempt": text, "failures": text}) == Journal()


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59Z", "1999-12-31T23:59:59Z", "2026-1-1T0:0:0Z", "2026-01-01", "soon"])
def test_a_time_that_nothing_can_be_added_to_is_none(text: str) -> None:
    """A run that failed in the year 9999 could not be looked at: its next try was beyond the calendar."""
    assert Journal.parse({"failed_at": text, "proved_at": f"{text} {ABOUT}", "current_fingerprint": ABOUT}) == Journal(
        current_fingerprint=ABOUT
    )
