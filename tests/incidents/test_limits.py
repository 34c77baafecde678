"""Rates and replays, with the clock in the test's hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.incidents import limits
from keyturn.incidents.limits import Rates, Replays

WINDOW = timedelta(minutes=5)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.now = datetime(2026, 11, 30, tzinfo=UTC)


def test_a_rate_is_a_full_bucket_and_then_so_many_a_minute() -> None:
    clock = Clock()
    rates = Rates(lambda: clock.seconds)
    assert [rates.take("a", 3) for _ in range(3)] == [None] * 3
    assert rates.take("a", 3) == pytest.approx(20)
    assert rates.take("b", 3) is None, "another has its own"
    clock.seconds += 20.1
    assert rates.take("a", 3) is None
    assert rates.take("a", 3) is not None
    clock.seconds += 3600
    assert [rates.take("a", 3) is None for _ in range(4)] == [True] * 3 + [False], "it does not fill above its measure"


def test_a_nonce_is_remembered_as_long_as_its_time_would_let_it_in() -> None:
    clock = Clock()
    replays = Replays(lambda: clock.now, WINDOW)
    ahead = clock.now + WINDOW - timedelta(seconds=1)
    assert replays.is_new("a", ahead, "n")
    assert not replays.is_new("a", ahead, "n")
    assert replays.is_new("b", ahead, "n"), "another caller's nonce is another"
    clock.now += 2 * WINDOW - timedelta(seconds=2)
    assert not replays.is_new("a", ahead, "n"), "its time is still within the window"
    clock.now += timedelta(seconds=2)
    assert not replays.is_new("a", ahead, "n"), "and now it is too old"


def test_nothing_is_forgotten_early_however_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_NONCES", 3)
    clock = Clock()
    replays = Replays(lambda: clock.now, WINDOW)
    assert [replays.is_new("a", clock.now, str(n)) for n in range(5)] == [True] * 3 + [False] * 2
    assert not replays.is_new("a", clock.now, "0")
    clock.now += WINDOW
    assert replays.is_new("a", clock.now, "5")
