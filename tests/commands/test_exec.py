"""keyturn exec, as it is typed: what does not fit together is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import Terminal

MEMBER = ("exec", "--proxy", "local", "--control", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--deliver", "file"), "go together"),
        (("--keys-folder", "/run/keys"), "go together"),
        (("--deliver", "file", "--keys-folder", "keys"), "must be an absolute path"),
        (("--render-timeout", "soon"), "--render-timeout must be a duration"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], said: str, terminal: Terminal) -> None:
    result = terminal.type(*MEMBER, *words, "--", "true")
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_member_whose_keys_are_rendered_does_not_ask_the_store(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_CONTROL_TOKEN", "control-token")
    terminal.world.store.documents.clear()
    missing = tmp_path / "keys.env"
    words = ("--env-file", str(missing), "--start-timeout", "0s", "--control", f"unix:{tmp_path}/control.sock")
    result = terminal.type(*MEMBER[:3], *words, "--", "true")
    assert result.exit_code == 6, result.output
    assert f"{missing} cannot be read: No such file or directory" in result.output
