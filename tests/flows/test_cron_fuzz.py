"""Every cron line that keyturn.yaml takes is one that Prefect takes, and means the same runs there."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.schedules import CronSchedule

from keyturn.config import ConfigError, parse
from keyturn.cron import REFUSAL, shortest_gap
from tests.hostile import fuzz, texts
from tests.test_config import GOOD

START = datetime(2025, 1, 1, tzinfo=UTC)
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = ("", "", "", "jan feb JUN dec", "mon TUE sat sun")
ODD = (
    *(
        "?",
        "L",
        "LW",
        "5L",
        "1L",
        "7L",
        "1#2",
        "MON#1",
        "R",
        "H",
        "15W",
        "60",
        "00",
        "007",
        "-1",
        "2-2",
        "02-2",
        "5-2",
        "sun-7",
    ),
    *("fri-sun", "sun-tue", "1-5/0", "*/0", "*/62", "*/1", "5/3", "*,1", "1,,2", ",", "/", "-", "**", "@daily"),
)


@st.composite
def terms(draw: st.DrawFn, position: int) -> str:
    low, high = RANGES[position]
    numbers = st.integers(low, high)
    first, last = draw(numbers), draw(numbers)
    step = draw(st.integers(1, high + 3))
    forms = ["*", "*", "*", str(first), f"{first}-{last}", f"*/{step}", f"{first}-{last}/{step}", f"{first}/{step}"]
    return draw(st.sampled_from([*forms, *NAMES[position].split(), *ODD] if draw(st.integers(0, 9)) == 0 else forms))


def fields(position: int) -> st.SearchStrategy[str]:
    return st.lists(terms(position), min_size=1, max_size=2).map(",".join) | terms(position)


lines = st.tuples(*(fields(position) for position in range(5))).map(" ".join)


croniter: Any = import_module("prefect._vendor.croniter").croniter  # what makes the runs of a schedule


@fuzz(400)
@given(lines)
def test_what_keyturn_takes_prefect_reads_alike(line: str) -> None:
    try:
        gap = shortest_gap(line)
    except ValueError as refusal:
        assert str(refusal).startswith(REFUSAL)
        return
    CronSchedule(cron=line, timezone="Europe/Berlin")
    runs = list(islice(croniter(line, START, ret_type=datetime).all_next(datetime), 60))
    assert gap == min(after - before for before, after in pairwise(runs))


@fuzz(100)
@given(texts | st.lists(st.sampled_from([*ODD, "1", "*", " ", "\t", "\n"]), max_size=7).map(" ".join))
def test_any_other_text_is_refused_and_not_quoted(line: str) -> None:
    try:
        shortest_gap(line)
    except ValueError as refusal:
        assert str(refusal).startswith(REFUSAL)
    else:
        CronSchedule(cron=line)


@pytest.mark.parametrize(
    "line",
    ["0 3 * * 1", "*/15 * * * *", "0 0 1,15 * *", "0 3 * * mon-fri", "0 0 29 2 *", "59 23 31 12 *", "0 0 1-7 1-12/3 *"],
)
def test_what_people_write_is_taken(line: str) -> None:
    assert shortest_gap(line)
    CronSchedule(cron=line)


@pytest.mark.parametrize(
    "line", ["0 3 * * 5L", "0 3 LW * *", "0 3 * * 1#1", "0 0 3 * * 1", "0 0 30 2 *", "0 3 */2 * 1", "0 3 * * */2"]
)
def test_what_prefect_reads_otherwise_or_not_at_all_is_a_fault(line: str) -> None:
    with pytest.raises(ConfigError, match=r"schedule \(line 17\): must be a cron line of five fields"):
        parse(GOOD.replace("0 3 * * 1", line))
