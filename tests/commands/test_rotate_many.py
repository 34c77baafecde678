"""keyturn rotate of many credentials: what it is told, what it prints, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flows.turned import NotAllTurnedError, Turned
from keyturn import progress
from keyturn.assembly import Line
from tests.commands.conftest import Terminal

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
ROTATED = Turned("a", "rotated", "every member serves it", "the old key ends later", retire_after=NOW)
PENDING = Turned("b", "rotated, revocation pending", "local/two is silent")
BEFORE = Turned("c", "failed", "the vault is sealed", "unseal it", failed=True)
AFTER = Turned("d", "failed", "two did not come back", "mend it", failed=True)
BACK = Turned("e", "rolled back", "the previous key is served again", "mend it", failed=True)


def ends(*rows: Turned) -> Callable[[], list[Turned]]:
    def run() -> list[Turned]:
        for listener in progress.listeners:
            for name, step in (("c", "observe"), ("d", "roll"), ("e", "roll")):
                listener(Line(NOW, step, "a line", name))
        if any(row.failed for row in rows):
            raise NotAllTurnedError(list(rows))
        return list(rows)

    return run


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ((), 0),
        ((ROTATED,), 0),
        ((ROTATED, PENDING), 5),
        ((PENDING, AFTER), 4),
        ((AFTER, BACK, ROTATED), 7),
        ((ROTATED, BACK, BEFORE, AFTER), 3),
    ],
)
def test_the_exit_code_is_that_of_the_credential_that_came_least_far(
    rows: tuple[Turned, ...], code: int, terminal: Terminal
) -> None:
    terminal.flow(ends(*rows))
    typed = terminal.type("rotate", "--all")
    assert typed.exit_code == code, typed.output
    assert all(f"{row.credential}: {row.result}: {row.sentence}" in typed.stdout for row in rows)
    failed = [row.credential for row in rows if row.failed]
    assert (f"These alone: keyturn rotate {' '.join(failed)}" in typed.stdout) is bool(failed)
    progress.listeners.clear()
    found = terminal.json("rotate", "--all", code=code)
    assert [row["credential"] for row in found["outcomes"]] == [row.credential for row in rows]
    assert [line["credential"] for line in found["timeline"]] == ["c", "d", "e"]


def test_the_flow_is_told_what_was_typed(terminal: Terminal) -> None:
    terminal.flow(ends(ROTATED))
    assert (
        terminal.type("rotate", "openai-prod", "--provider", "org", "--due", "--overlap", "2h", "--dry-run").exit_code == 0
    )
    assert terminal.ran == [
        {
            "credentials": ["openai-prod"],
            "provider": "org",
            "every": False,
            "due": True,
            "reason": "manual",
            "overlap": "2h",
            "dry_run": True,
        }
    ]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "--wait"),
        ("--provider", "not-there"),
        ("openai-prod", "not-there"),
        ("--all", "--overlap", "soon"),
    ],
)
def test_what_cannot_be_meant_starts_nothing(words: tuple[str, ...], terminal: Terminal) -> None:
    terminal.flow(ends(ROTATED))
    assert terminal.type("rotate", *words).exit_code == 2
    assert terminal.ran == []
