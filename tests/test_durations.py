"""Durations: what is written is what is meant, and nothing that is not one is quoted."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from keyturn.durations import PATTERN, Duration, parse, text

LONGEST = 36500 * 86400
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@given(st.integers(min_value=0, max_value=LONGEST))
def test_what_is_written_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse(text(duration)) == duration
    assert re.fullmatch(PATTERN, text(duration))


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_joined_parts_add_up(parts: list[tuple[int, str]]) -> None:
    written = "".join(f"{count}{unit}" for count, unit in parts)
    assert parse(written).total_seconds() == sum(count * UNITS[unit] for count, unit in parts)
    assert parse(text(parse(written))) == parse(written)


@given(st.text())
def test_any_text_is_a_duration_or_refused_with_a_value_error(anything: str) -> None:
    try:
        found = parse(anything)
    except ValueError:
        return
    assert re.fullmatch(PATTERN, anything)
    assert datetime(2500, 1, 1, tzinfo=UTC) + found, "it can be added to a date"


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=7), "7d"),
        (timedelta(days=1, hours=12), "1d12h"),
        (timedelta(seconds=59.9), "59s"),
    ],
)
def test_a_duration_is_written_short(duration: timedelta, written: str) -> None:
    assert text(duration) == written


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        "1.5h",
        "5S",
        "5y",
        "٣h",
        "36501d",
        "9" * 12 + "w",
        "9" * 9999 + "s",
    ],
)
def test_everything_else_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        parse(wrong)


def test_a_key_at_the_place_of_a_duration_is_not_quoted() -> None:
    key = "sk-" + secrets.token_hex(24)

    class Settings(BaseModel, hide_input_in_errors=True):
        overlap: Duration

    with pytest.raises(ValueError) as refusal:
        parse(key)
    assert key not in str(refusal.value)
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"overlap": key})
    assert key not in str(refused.value)


def test_a_setting_takes_text_and_timedelta_and_no_bare_number() -> None:
    class Settings(BaseModel):
        overlap: Duration

    assert Settings.model_validate({"overlap": "1d12h"}).overlap == timedelta(hours=36)
    assert Settings.model_validate({"overlap": timedelta(1)}).overlap == timedelta(1)
    for number in (24, 24.0, True, None, ["24h"]):
        with pytest.raises(ValidationError, match="must be a duration"):
            Settings.model_validate({"overlap": number})
