"""keyturn status --watch: it looks until Ctrl-C, also at what is not well."""

from __future__ import annotations

import pytest

from keyturn.commands import watch
from tests.commands.conftest import Terminal


class Pauses:
    """Ctrl-C in the pause after so many looks."""

    def __init__(self, looks: int) -> None:
        self.left, self.seconds = looks, list[float]()

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("well", [True, False])
def test_it_looks_until_it_is_told_to_stop(terminal: Terminal, well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(3)
    monkeypatch.setattr(watch.time, "sleep", pauses)  # type: ignore[attr-defined]
    if not well:
        terminal.world.fleet.loaded["two"] = None
    result = terminal.type("status", "--watch", "--every", "5s")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("openai-prod") >= 3 and "again in 5s" in result.stdout
    assert pauses.seconds == [5.0] * 3


def test_a_file_that_is_wrong_ends_it(terminal: Terminal) -> None:
    terminal.config.write_text("nothing: {}")
    assert terminal.type("status", "--watch").exit_code == 2


def test_the_table_tells_age_due_and_evidence(terminal: Terminal) -> None:
    head = terminal.type("status").stdout
    assert all(column in head for column in ("age", "due", "members", "evidence", "old key", "strays", "next"))
    assert "2 of 2" in head
