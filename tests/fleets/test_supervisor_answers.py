"""What is no supervisor's answer, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.fleets.supervisor_answers import Answer, Status
from keyturn.json_object import UnreadableError
from keyturn.model import VersionRef
from tests.fleets.test_process_fuzz import CREDENTIAL, WANTED, status

LOOKS_LIKE_A_KEY = "sk-" + "a1B2c3" * 6


def changed(name: str, *values: Any) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def version(id: Any = "token-1", fingerprint: Any = "0123456789abcdef") -> dict[str, Any]:
    return {CREDENTIAL: {"id": id, "fingerprint": fingerprint}}


def test_a_status_is_read() -> None:
    read = Status.of(Answer(200, status()))
    assert read.serving(CREDENTIAL) == WANTED
    assert read.serving("another") is None
    assert (read.state, read.shadowed, read.last_error) == ("serving", ["GOOGLE_API_KEY"], status()["last_error"])
    for state in ("starting", "draining", "stopping", "failed"):
        assert Status.of(Answer(200, status(state))).serving(CREDENTIAL) is None


@pytest.mark.parametrize(
    "changes",
    [
        *changed("state", None, "", "Serving", ["serving"], 7, LOOKS_LIKE_A_KEY),
        *changed("versions", None, [], "x", {CREDENTIAL: None}, {CREDENTIAL: "x"}, {CREDENTIAL: {}}),
        *changed("versions", *(version(id=each) for each in (None, 7, "", "x" * 129, "a\nb", "\x1b", LOOKS_LIKE_A_KEY))),
        *changed("versions", *(version(fingerprint=each) for each in (None, 7, "", "0123456789abcdeg", "0" * 17))),
        *changed("shadowed", None, {}, "x", [7], [None], ["not a name"], [LOOKS_LIKE_A_KEY.replace("-", "_")]),
        *changed("last_error", None, 7, ["x"], {"x": "y"}),
    ],
    ids=lambda changes: repr(changes)[:50],
)
def test_anything_else_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        Status.of(Answer(200, {**status(), **changes}))


def test_its_words_are_told_without_what_looks_like_a_key_short_and_on_one_line() -> None:
    said = Answer(409, {"error": f"the store\nsays {LOOKS_LIKE_A_KEY} \x1b[31m\u202e{'x' * 400}"}).words
    assert said.startswith("the store says *** ?[31m?xxx")
    assert len(said) == 300


@pytest.mark.parametrize("error", [None, "", 7, ["x"], {"message": "x"}])
def test_words_are_text(error: Any) -> None:
    """LiteLLM, at a wrong control address, answers with an object."""
    with pytest.raises(UnreadableError):
        assert Answer(409, {"error": error}).words


def test_an_id_is_kept_beside_the_fingerprint() -> None:
    found = Status.of(Answer(200, status())).serving(CREDENTIAL)
    assert isinstance(found, VersionRef)
    assert found.id == WANTED.id
