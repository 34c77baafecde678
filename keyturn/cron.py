"""Cron lines: only what keyturn and Prefect read alike.

How far apart rotations are is computed here with cronsim; the runs are made by Prefect, with croniter. Where the two differ
(steps of weekdays, `L`, `W`, `#`, `?`, a sixth field, a step beside a weekday) the distance would be wrong, or Prefect would
refuse the line only when it is served. tests/flows/test_cron_fuzz.py holds them against each other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

REFUSAL = (
    'must be a cron line of five fields, such as "0 3 * * 1": numbers, lists, ranges and steps; names for months and '
    "weekdays; no step in weekdays"
)
_TERM = re.compile(
    r"\*(?P<every>/[0-9]{1,2})?|(?P<first>[0-9]{1,2}|[a-z]{3})(-(?P<last>[0-9]{1,2}|[a-z]{3})(?P<step>/[0-9]{1,2})?)?"
)
_LONGEST = 200
_START = datetime(2025, 1, 1, tzinfo=UTC)
_LOOKED_AT = 60  # runs: the shortest distance comes back long before


@lru_cache(maxsize=1024)
def shortest_gap(line: str) -> timedelta:
    """The shortest time between two runs. ValueError, which does not quote the line, for one that is not taken."""
    fields = line.lower().split(" ")
    if len(line) > _LONGEST or len(fields) != 5 or not all(map(_is_plain, fields, range(5))):
        raise ValueError(REFUSAL)
    if fields[2].startswith("*/") and fields[4] != "*":
        raise ValueError(REFUSAL + ", and none in days beside a weekday")
    try:
        times = list(islice(CronSim(line, _START), _LOOKED_AT))
    except CronSimError:
        times = []
    if len(times) < 2:
        raise ValueError(REFUSAL)
    return min(after - before for before, after in pairwise(times))


def _is_plain(field: str, position: int) -> bool:
    terms = field.split(",")
    return all(_is_term(term, position, len(terms)) for term in terms)


def _is_term(term: str, position: int, terms: int) -> bool:
    found = _TERM.fullmatch(term)
    if found is None or (term.startswith("*") and terms > 1):
        return False
    if found["last"] is not None and found["first"].lstrip("0") == found["last"].lstrip(
        "0"
    ):  # to croniter 5-5 is every one of them
        return False
    steps = found["every"] or found["step"]
    return not (position == 4 and steps) and steps not in ("/0", "/00")
