"""Jitter: how much later than due, the same for whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from keyturn.jitter import offset

DUE = datetime(2026, 3, 2, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_it_is_the_same_for_whoever_asks_and_another_for_each_credential_and_time() -> None:
    assert offset("a", DUE, HOUR) == offset("a", DUE.astimezone(ZoneInfo("Asia/Tokyo")), HOUR)
    assert len({offset("a", DUE, HOUR), offset("b", DUE, HOUR), offset("a", DUE + timedelta(days=7), HOUR)}) == 3


def test_a_fleet_is_spread_over_all_of_it() -> None:
    found = [offset(f"credential-{n}", DUE, HOUR) for n in range(1000)]
    assert timedelta(0) <= min(found) < timedelta(minutes=1)
    assert timedelta(minutes=59) < max(found) <= HOUR
    in_each_minute = [sum(each // timedelta(minutes=10) == n for each in found) for n in range(6)]
    assert min(in_each_minute) > 100


def test_without_jitter_there_is_none() -> None:
    assert offset("a", DUE, timedelta(0)) == timedelta(0)
