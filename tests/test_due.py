"""When a credential is due by itself, and how long one that failed is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.due import due_since
from keyturn.jitter import offset
from keyturn.journal import Journal
from keyturn.patience import Patience
from keyturn.settings import CredentialSettings

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
GRACE = timedelta(minutes=10)
FAILED = NOW - timedelta(hours=1)


def settings(**more: str) -> CredentialSettings:
    return CredentialSettings.model_validate(
        {
            "provider": "openai",
            "secrets": [{"store": "vault", "path": "a"}],
            "canary": {"proxy": "local", "model": "gpt"},
            "proxies": ["local"],
            **more,
        }
    )


def rotated(**before: float) -> Journal:
    return Journal(promoted_at=NOW - timedelta(**before))


MONDAY_AT_THREE = {"schedule": "0 3 * * 1", "timezone": "Europe/Berlin"}
TICK = datetime(2026, 3, 2, 2, tzinfo=UTC)

SITUATIONS: dict[str, tuple[dict[str, str], Journal, datetime | None]] = {
    "nothing scheduled": ({}, rotated(days=900), None),
    "nothing scheduled, and the last run failed": ({}, Journal(failures=1, failed_at=FAILED), FAILED),
    "by age, never rotated": ({"max_age": "30d"}, Journal(), NOW),
    "by age, young": ({"max_age": "30d"}, rotated(days=29), None),
    "by age, old enough": ({"max_age": "30d"}, rotated(days=31), NOW - timedelta(days=1)),
    "by schedule, never rotated: its first tick starts a run by itself": (MONDAY_AT_THREE, Journal(), None),
    "by schedule, never rotated, and that run failed": (MONDAY_AT_THREE, Journal(failures=1, failed_at=FAILED), FAILED),
    "by schedule, the last tick was answered": (MONDAY_AT_THREE, rotated(days=2), None),
    "by schedule, the last tick was missed": (MONDAY_AT_THREE, rotated(days=6), TICK),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_since_when_a_credential_is_due(situation: str) -> None:
    given, journal, since = SITUATIONS[situation]
    assert due_since("openai-prod", settings(**given), journal, NOW, GRACE) == since


def test_a_tick_is_left_to_its_own_run_for_a_while() -> None:
    given = settings(**MONDAY_AT_THREE)
    journal = Journal(promoted_at=TICK - timedelta(days=5))
    assert due_since("openai-prod", given, journal, TICK + GRACE - timedelta(seconds=1), GRACE) is None
    assert due_since("openai-prod", given, journal, TICK + GRACE + timedelta(seconds=1), GRACE) == TICK


def test_pauses_double_up_to_the_longest_with_a_quarter_of_jitter() -> None:
    patience = Patience(timedelta(minutes=4), timedelta(hours=1))
    for failures, pause in {1: 4, 2: 8, 3: 16, 4: 32, 5: 60, 50: 60, 10**6: 60}.items():
        found = (patience.next_try(failures, NOW, "a") - NOW) / timedelta(minutes=1)
        assert 0.75 * pause <= found <= 1.25 * pause + 1e-6


def test_those_that_failed_together_are_not_tried_again_together_and_every_worker_says_the_same() -> None:
    tries = [Patience().next_try(3, NOW, f"credential {number}") for number in range(50)]
    assert len(set(tries)) > 40
    assert tries == [Patience().next_try(3, NOW, f"credential {number}") for number in range(50)]


def test_jitter_is_waited_for_before_a_missed_tick_is_made_up_for() -> None:
    given, journal = settings(**MONDAY_AT_THREE, jitter="6h"), rotated(days=6)
    later = TICK + offset("openai-prod", TICK, timedelta(hours=6)) + GRACE
    assert timedelta(hours=1) < later - TICK, "else this says nothing"
    assert due_since("openai-prod", given, journal, later - timedelta(seconds=1), GRACE) is None
    assert due_since("openai-prod", given, journal, later, GRACE) == TICK


def test_by_age_it_is_due_by_its_jitter_later() -> None:
    given, journal = settings(max_age="30d", jitter="2d"), rotated(days=33)
    old = NOW - timedelta(days=3)
    assert due_since("openai-prod", given, journal, NOW, GRACE) == old + offset("openai-prod", old, timedelta(days=2))


def test_a_tick_whose_jitter_is_not_over_does_not_hide_one_that_was_missed() -> None:
    given, journal = settings(**MONDAY_AT_THREE, jitter="6h"), rotated(days=12)
    assert due_since("openai-prod", given, journal, TICK + GRACE, GRACE) == TICK - timedelta(days=7)
