"""Ages, when the next key is due, and how both are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.inventory import Held, Life, plot
from keyturn.journal import Journal
from keyturn.key_age import KeyAge, key_age, short
from keyturn.lifecycle import Observed
from keyturn.model import KeyRef, Stage, VersionRef
from keyturn.settings import CredentialSettings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
PARTS = {"provider": "org", "secrets": [{"store": "memory", "path": "p"}], "proxies": ["local"]}


def seen(promoted: datetime | None = None, made: datetime | None = None) -> Observed:
    journal = Journal(current_fingerprint="f" if promoted else "", promoted_at=promoted, keys={"f": "key_1"})
    keys = (KeyRef("key_1", "name", created_at=made, expires_at=NOW + timedelta(days=9)),)
    return Observed(NOW, {Stage.CURRENT: VersionRef("v", "f")}, journal, keys, {})


def settings(**more: str) -> CredentialSettings:
    return CredentialSettings.model_validate({**PARTS, **more, "overlap": "1h"})


def test_the_age_is_the_providers_word_else_since_the_promote() -> None:
    assert key_age(settings(), seen(NOW - timedelta(days=2), NOW - timedelta(days=3))).age == timedelta(days=3)
    assert key_age(settings(), seen(NOW - timedelta(days=2))).age == timedelta(days=2)
    assert key_age(settings(), seen()).age is None
    assert key_age(settings(), seen()).expires_at == NOW + timedelta(days=9)


@pytest.mark.parametrize(
    ("how", "promoted", "due", "overdue"),
    [
        ({}, NOW - timedelta(days=400), None, False),
        ({"max_age": "30d"}, NOW - timedelta(days=20), NOW + timedelta(days=10), False),
        ({"max_age": "30d"}, NOW - timedelta(days=31), NOW - timedelta(days=1), True),
        ({"max_age": "30d"}, None, NOW, False),
        ({"schedule": "0 3 * * 1"}, NOW - timedelta(hours=1), datetime(2026, 3, 9, 3, tzinfo=UTC), False),
        ({"schedule": "0 3 * * 1"}, NOW - timedelta(days=3), datetime(2026, 3, 2, 3, tzinfo=UTC), True),
        ({"schedule": "0 3 * * 1"}, None, datetime(2026, 3, 9, 3, tzinfo=UTC), False),
    ],
)
def test_when_the_next_is_due(how: dict[str, str], promoted: datetime | None, due: datetime | None, overdue: bool) -> None:
    found = key_age(settings(**how), seen(promoted))
    assert (found.due_at, found.is_overdue) == (due, overdue)


def test_spans_are_short() -> None:
    spans = [timedelta(seconds=5), timedelta(minutes=65), timedelta(days=3, hours=4, minutes=5), timedelta(days=2)]
    assert [short(each) for each in spans] == ["0m", "1h 5m", "3d 4h", "2d"]


def test_the_plot_has_the_oldest_first_and_says_what_it_does_not_know() -> None:
    rows = [
        Held("young", "org", Life.ALIVE, "", age=KeyAge(NOW, NOW - timedelta(days=1))),
        Held("old", "org", Life.DEAD, "", age=KeyAge(NOW, NOW - timedelta(days=40), NOW - timedelta(days=10))),
        Held("unseen", "org", Life.UNKNOWN, ""),
    ]
    lines = plot(rows).splitlines()
    assert lines[3].startswith("old   " + "█" * 40) and lines[3].endswith("40d ! overdue")
    assert lines[4].startswith("young █ ") and lines[4].endswith("1d")
    assert "Of no known age: unseen" in lines and "**Dead:** old" in lines
    assert rows[1].as_row()["due"] == "overdue by 10d"
    assert plot([]).startswith("# Ages")
