"""keyturn respond: what it is told, what it prints, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from flows.outcome import Outcome, Result
from flows.respond import UnansweredError
from keyturn import progress
from keyturn.assembly import Line
from keyturn.cli import app
from keyturn.testing.world import new_key
from tests.commands.conftest import Terminal

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
REFUSED = Outcome("openai-prod", Result.RETIRED, "revoked, and refused by the provider", None, NOW)
PENDING = Outcome("slow", Result.PENDING, "the old key is kept: local/two is silent")
STOPPED = Outcome("broken", Result.STOPPED, "the vault is sealed")
HALF_WAY = Outcome("half", Result.UNFINISHED, "two did not come back")


def ends(*outcomes: Outcome) -> Callable[[], list[Outcome]]:
    def run() -> list[Outcome]:
        for listener in progress.listeners:
            listener(Line(NOW, "observe", "an incident", "openai-prod"))
        if any(each.old_key_refused_at is None for each in outcomes):
            return _fails(*outcomes)
        return list(outcomes)

    return run


def _fails(*outcomes: Outcome) -> NoReturn:
    raise UnansweredError(list(outcomes))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((REFUSED,), 0),
        ((REFUSED, PENDING), 5),
        ((PENDING, HALF_WAY, REFUSED), 4),
        ((REFUSED, HALF_WAY, STOPPED), 3),
    ],
)
def test_the_exit_code_is_that_of_the_credential_that_came_least_far(
    outcomes: tuple[Outcome, ...], code: int, terminal: Terminal
) -> None:
    terminal.flow(ends(*outcomes))
    typed = terminal.type("respond", "openai-prod")
    assert typed.exit_code == code, typed.output
    for each in outcomes:
        assert f"{each.credential}: {each.result}: {each.sentence}" in typed.stdout
    progress.listeners.clear()
    found = terminal.json("respond", "openai-prod", code=code)
    assert [each["credential"] for each in found["outcomes"]] == [each.credential for each in outcomes]
    assert found["timeline"][0]["credential"] == "openai-prod"


def test_the_flow_is_told_names_a_policy_and_a_fingerprint(terminal: Terminal) -> None:
    terminal.flow(ends(REFUSED))
    fingerprint = new_key().fingerprint()
    terminal.type("respond", "openai-prod", "--policy", "revoke_first", "--fingerprint", fingerprint)
    assert terminal.ran == [{"credentials": ["openai-prod"], "policy": "revoke_first", "fingerprint": fingerprint}]


def test_of_a_key_that_is_read_unseen_the_fingerprint_alone_goes_on(terminal: Terminal) -> None:
    terminal.flow(ends(REFUSED))
    key = new_key()
    typed = CliRunner().invoke(app, ["respond", "--ask-key"], input=f"{key.reveal()}\n")
    assert typed.exit_code == 0 and key.reveal() not in typed.output
    assert terminal.ran == [{"credentials": [], "policy": "configured", "fingerprint": key.fingerprint()}]


def test_a_key_in_place_of_a_fingerprint_is_refused_and_not_repeated(terminal: Terminal) -> None:
    key = new_key().reveal()
    for words in (("--fingerprint", key), (key,), ("openai-prod", "--policy", key)):
        typed = terminal.type("respond", *words)
        assert typed.exit_code == 2 and key not in typed.output
    assert terminal.type("respond").exit_code == 2
    assert terminal.ran == []
