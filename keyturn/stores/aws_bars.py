"""What is never promoted again: kept in the journal of a field, and for a whole secret in a version of its own.

A bar is written before the fence (aws_fence): AWSCURRENT moves to a copy of itself whose id is made of the bar. AWSCURRENT
never comes back to a version that had it before. So while it is on that copy, the bar needs no second fence.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.json_object import UnreadableError, json_object

NO_VALUE = ""  # in the place of a fingerprint: what the bar says of `previous` is wanted, and no value is barred


@dataclass(frozen=True, slots=True)
class Bar:
    """What was seen when it was written. `at`: the version that was AWSCURRENT.

    `previous`: of a whole secret, what PREVIOUS was. (AWS puts AWSPREVIOUS on the original of the copy. Until it is put
    back, the bar tells where it belongs.)
    """

    at: str
    previous: str = ""


Bars = Mapping[str, Bar]  # by the value's fingerprint
Rows = list[tuple[str, str, str]]


def with_bar(bars: Bars, fingerprint: str, bar: Bar, held: Collection[str], labelled: Collection[str]) -> Bars:
    """One bar more. Dropped is what no stage holds, but not before its `at` is out of sight.

    So no value is barred twice at one version: a fence that a stalled worker brings late says nothing of a second bar.
    """
    kept = {name: old for name, old in bars.items() if name in held or old.at in labelled}
    return {**kept, fingerprint: bar}


def listed(bars: Bars) -> Rows:
    return [(fingerprint, bar.at, bar.previous) for fingerprint, bar in bars.items()]


def bars_of(rows: Any) -> Bars:
    """UnreadableError for what `listed` did not give."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        raise UnreadableError
    if not all(isinstance(each, str) for row in rows for each in row):
        raise UnreadableError
    return {fingerprint: Bar(at, previous) for fingerprint, at, previous in rows}


def bars_text(bars: Bars) -> str:
    """The text of a version. It is no key: KeyMaterial takes no line's end."""
    return json.dumps({"barred": listed(bars)}) + "\n"


def parse_bars(text: str) -> Bars | None:
    """None for a text that is not such a version's; it is not quoted."""
    try:
        return bars_of(json_object(text).get("barred"))
    except UnreadableError:
        return None
