"""keyturn approve: what it tells the flow, and its exit codes."""

from __future__ import annotations

from typing import NoReturn

import pytest

from flows.outcome import Outcome, Result
from keyturn.errors import NotFoundError
from tests.commands.conftest import Terminal


@pytest.mark.parametrize(("words", "answer"), [((), "revoke"), (("--deny",), "keep")])
def test_a_yes_or_a_no_is_what_the_flow_is_told(words: tuple[str, ...], answer: str, terminal: Terminal) -> None:
    terminal.flow(lambda: Outcome("openai-prod", Result.ANSWERED, "noted"))
    assert terminal.json("approve", "openai-prod", *words)["result"] == "answered"
    assert terminal.ran == [{"credential": "openai-prod", "answer": answer}]


def test_a_yes_after_which_the_key_is_still_kept_is_told_by_its_exit_code(terminal: Terminal) -> None:
    terminal.flow(lambda: Outcome("openai-prod", Result.PENDING, "two does not answer"))
    typed = terminal.type("approve", "openai-prod")
    assert typed.exit_code == 5 and "two does not answer" in typed.stdout


def test_where_nothing_is_asked_that_is_said(terminal: Terminal) -> None:
    def nothing() -> NoReturn:
        raise NotFoundError("no key of this credential waits for an answer", remedy="look")

    terminal.flow(nothing)
    assert terminal.json("approve", "openai-prod", code=6)["error"] == "no key of this credential waits for an answer"
