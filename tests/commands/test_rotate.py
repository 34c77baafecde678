"""keyturn rotate and keyturn retire: what they print, and the exit codes that a script acts on."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

from flows.outcome import Outcome, Result
from keyturn import progress
from keyturn.assembly import Line
from keyturn.errors import (
    EvidenceMissingError,
    KeyturnError,
    MisconfiguredError,
    RejectedError,
    RollFailedError,
    UnavailableError,
)
from tests.commands.conftest import Terminal

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def says(*steps: str) -> None:
    for step in steps:
        for listener in progress.listeners:
            listener(Line(NOW, step, f"a word of {step}"))


def ends(result: Result, *steps: str, retire_after: datetime | None = None) -> Callable[[], Outcome]:
    def run() -> Outcome:
        says(*steps)
        return Outcome("openai-prod", result, "a sentence", retire_after)

    return run


def fails(error: Exception, *steps: str) -> Callable[[], NoReturn]:
    def run() -> NoReturn:
        says(*steps)
        raise error

    return run


@pytest.mark.parametrize(
    ("result", "code"),
    [(Result.NOTHING, 0), (Result.ROTATED, 0), (Result.RETIRED, 0), (Result.PLANNED, 0), (Result.PENDING, 5)],
)
def test_an_outcome_has_its_exit_code(result: Result, code: int, terminal: Terminal) -> None:
    for command in ("rotate", "retire"):
        terminal.flow(ends(result))
        typed = terminal.type(command, "openai-prod")
        assert (typed.exit_code, f"{result}: a sentence" in typed.stdout) == (code, True)


BEFORE = ("observe", "preflight", "create", "write", "validate")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((), 3),
        (BEFORE[:1], 3),
        (BEFORE, 3),
        ((*BEFORE, "undo", "undo"), 3),
        ((*BEFORE, "promote"), 4),
        ((*BEFORE, "promote", "tidy"), 4),
        ((*BEFORE, "promote", "roll"), 4),
        ((*BEFORE, "promote", "roll", "prove"), 4),
        ((*BEFORE, "promote", "roll", "prove", "revoke"), 4),
    ],
)
def test_a_stopped_rotation_says_on_which_side_of_the_pivot(steps: tuple[str, ...], code: int, terminal: Terminal) -> None:
    terminal.flow(fails(RollFailedError("it stopped", remedy="mend it"), *steps))
    typed = terminal.type("rotate", "openai-prod")
    assert typed.exit_code == code
    where = next((step for step in reversed(steps) if step != "undo"), "")
    assert f"stopped{f' at {where}' if where else ''}: it stopped" in typed.stderr
    assert "what to do: mend it" in typed.stderr


def test_a_misconfiguration_that_shows_before_the_first_step_is_wrong_usage(terminal: Terminal) -> None:
    terminal.flow(fails(MisconfiguredError("env:X is not set")))
    assert terminal.type("rotate", "openai-prod").exit_code == 2
    terminal.flow(fails(MisconfiguredError("the path is not there"), "observe"))
    assert terminal.type("rotate", "openai-prod").exit_code == 3


@pytest.mark.parametrize("error", [EvidenceMissingError("one is behind"), UnavailableError("the store is sealed")])
def test_a_retire_that_stops_leaves_the_revocation_pending(error: KeyturnError, terminal: Terminal) -> None:
    terminal.flow(fails(error, "observe"))
    assert terminal.type("retire", "openai-prod").exit_code == 5


def test_a_fault_of_ours_is_told_without_its_text(terminal: Terminal) -> None:
    key = "sk-" + secrets.token_hex(24)
    terminal.flow(fails(ValueError(f"broken by {key}"), "observe"))
    for words in (["rotate", "openai-prod"], ["rotate", "openai-prod", "--json"], ["retire", "openai-prod"]):
        typed = terminal.type(*words)
        assert typed.exit_code == 1
        assert "a fault of keyturn's: ValueError at" in typed.output
        assert key not in typed.output and "Traceback" not in typed.output


@pytest.mark.parametrize(
    "words",
    [
        "Failed to reach API at http://127.0.0.1:9/api/",
        "Timed out while attempting to connect to ephemeral Prefect API server.",
    ],
)
def test_prefect_that_does_not_answer_is_named(terminal: Terminal, words: str) -> None:
    terminal.flow(fails(RuntimeError(words)))
    typed = terminal.type("rotate", "openai-prod")
    assert (typed.exit_code, "PREFECT_API_URL" in typed.stderr) == (3, True)


def test_the_timeline_is_printed_as_it_happens_and_its_text_is_no_markup(terminal: Terminal) -> None:
    def run() -> Outcome:
        for listener in progress.listeners:
            listener(Line(NOW, "roll", "[bold]one[/bold] and [two]"))
        return Outcome("openai-prod", Result.ROTATED, "kept [until] later")

    terminal.flow(run)
    printed = terminal.type("rotate", "openai-prod").stdout
    assert "03:00:00 roll      [bold]one[/bold] and [two]\n" in printed
    assert "rotated: kept [until] later" in printed


def test_json_holds_the_outcome_and_the_timeline(terminal: Terminal) -> None:
    terminal.flow(ends(Result.ROTATED, "observe", "roll", retire_after=NOW))
    found = terminal.json("rotate", "openai-prod")
    assert found == {
        "credential": "openai-prod",
        "result": "rotated",
        "sentence": "a sentence",
        "retire_after": "2026-03-02 03:00:00+00:00",
        "old_key_refused_at": None,
        "by_hand": False,
        "timeline": [
            {"at": "2026-03-02 03:00:00+00:00", "step": step, "sentence": f"a word of {step}", "credential": ""}
            for step in ("observe", "roll")
        ],
    }


def test_json_of_a_stop_holds_why_where_and_what_to_do(terminal: Terminal) -> None:
    terminal.flow(fails(RejectedError("refused", remedy="check its scopes"), "observe", "validate"))
    found = terminal.json("rotate", "openai-prod", code=3)
    assert found == {"error": "refused", "remedy": "check its scopes", "step": "validate"}


def test_json_stays_plain_where_colours_are_forced(terminal: Terminal) -> None:
    terminal.monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.flow(ends(Result.ROTATED, "observe"))
    assert terminal.json("rotate", "openai-prod")["result"] == "rotated"


def test_what_is_typed_reaches_the_flow(terminal: Terminal) -> None:
    terminal.flow(ends(Result.ROTATED))
    terminal.type("rotate", "openai-prod", "--reason", "incident", "--overlap", "0s", "--dry-run")
    terminal.type("rotate", "openai-prod")
    terminal.type("retire", "openai-prod", "--now")
    terminal.type("retire", "openai-prod", "--force", "--reason", "members_gone")
    assert terminal.ran == [
        {"credential": "openai-prod", "reason": "incident", "overlap": "0s", "dry_run": True},
        {"credential": "openai-prod", "reason": "manual", "overlap": None, "dry_run": False},
        {"credential": "openai-prod", "now": True, "force": None},
        {"credential": "openai-prod", "now": False, "force": "members_gone"},
    ]


def test_waiting_goes_on_with_the_retire_when_the_overlap_is_over(terminal: Terminal) -> None:
    outcomes = [
        ends(Result.ROTATED, "observe", retire_after=datetime.now(UTC) - timedelta(seconds=5)),
        ends(Result.RETIRED, "revoke"),
    ]
    terminal.flow(lambda: outcomes.pop(0)())
    found = terminal.json("rotate", "openai-prod", "--wait")
    assert found["result"] == "rotated, old key refused"
    assert [line["step"] for line in found["timeline"]] == ["observe", "revoke"]
    told = [sorted(parameters) for parameters in terminal.ran]
    assert told == [["credential", "dry_run", "overlap", "reason"], ["credential", "force", "now"]]


def test_waiting_for_nothing_ends_at_once(terminal: Terminal) -> None:
    terminal.flow(ends(Result.RETIRED, "revoke"))
    assert terminal.json("rotate", "openai-prod", "--wait")["result"] == "rotated, old key refused"
    assert len(terminal.ran) == 1


def test_a_retire_that_fails_after_the_wait_is_a_pending_revocation(terminal: Terminal) -> None:
    first: list[Any] = [ends(Result.ROTATED, retire_after=datetime.now(UTC) - timedelta(seconds=5))]
    terminal.flow(lambda: first.pop()() if first else fails(EvidenceMissingError("one is behind"), "observe")())
    typed = terminal.type("rotate", "openai-prod", "--wait", "--json")
    assert (typed.exit_code, json.loads(typed.stdout)["error"]) == (5, "one is behind")
