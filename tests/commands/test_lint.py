"""keyturn lint as it is typed: formats, exit codes, keyturn.yaml if there is one, and what is typed wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.conftest import Terminal
from tests.lint.examples import filled, litellm

NOTED = litellm(", api_key: os.environ/OPENAI_API_KEY").replace("    model_info: {id: m}\n", "")  # a note
WARNED = litellm(", litellm_credential_name: x, mock_response: x")  # a warning
WRONG = litellm(", api_key: $KEY")  # an error


@pytest.fixture
def place(terminal: Terminal, tmp_path: Path) -> Path:
    """Without a keyturn.yaml."""
    terminal.config.unlink()
    terminal.monkeypatch.delenv("KEYTURN_CONFIG")
    terminal.monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "codes"),
    [("a: 1\n", (0, 0, 0)), (NOTED, (0, 0, 6)), (WARNED, (0, 6, 6)), (WRONG, (6, 6, 6)), ("a: }\n", (6, 6, 6))],
)
@pytest.mark.parametrize("style", ["human", "json", "sarif"])
def test_the_exit_code_is_by_what_is_found(
    text: str, codes: tuple[int, int, int], style: str, terminal: Terminal, place: Path
) -> None:
    (place / "x.yaml").write_text(text)
    for level, code in zip(("error", "warning", "note"), codes, strict=True):
        assert terminal.type("lint", "x.yaml", "--format", style, "--fail-on", level).exit_code == code
    assert terminal.type("lint", "x.yaml", "--format", style).exit_code == codes[0]


def test_lines_for_people(terminal: Terminal, place: Path) -> None:
    (place / "x.yaml").write_text(f"{WRONG}# [bold]\n")
    (place / "[red].yaml").write_text("a: 1  # keyturn: ignore\n")
    result = terminal.type("lint", ".")
    assert "x.yaml:3:53: error KT201" in result.stdout
    assert "what to do: write os.environ/NAME" in result.stdout
    assert "[red].yaml:1:7: warning KT003" in result.stdout
    assert result.stdout.endswith("2 files: 1 error, 1 warning\n")


def test_json_for_a_script(terminal: Terminal, place: Path) -> None:
    (place / "x.yaml").write_text(filled("# keyturn: ignore KT101 for a test\na: <openai>\n") + "b: !x\n")
    data = json.loads(terminal.type("lint", "x.yaml", "--format", "json").stdout)
    (found,) = data["findings"]
    assert (data["files"], data["ignored"], found["rule"], found["line"], found["severity"]) == (1, 1, "KT002", 2, "note")


def test_nothing_found_is_said(terminal: Terminal, place: Path) -> None:
    assert terminal.type("lint", ".").stdout == "0 files: nothing found\n"


def test_keyturn_yaml_is_used_where_it_is(terminal: Terminal, tmp_path: Path) -> None:
    proxy = tmp_path / "x.yaml"
    proxy.write_text(litellm(", api_key: os.environ/OTHER_API_KEY"))
    assert "KT501" in terminal.type("lint", str(proxy)).stdout
    terminal.monkeypatch.delenv("KEYTURN_CONFIG")
    assert "KT501" not in terminal.type("lint", str(proxy)).stdout
    assert "KT501" in terminal.type("--config", str(terminal.config), "lint", str(proxy)).stdout
    terminal.monkeypatch.delenv("KEYTURN_CONFIG")
    terminal.monkeypatch.chdir(tmp_path)
    assert {"KT501", "KT502"} <= set(terminal.type("lint", "x.yaml").stdout.split())


@pytest.mark.parametrize("style", ["human", "sarif"])
def test_a_faulty_keyturn_yaml_is_told_as_everywhere(style: str, terminal: Terminal, tmp_path: Path) -> None:
    terminal.config.write_text("providers: {}\n")
    result = terminal.type("lint", str(tmp_path), "--format", style)
    assert result.exit_code == 2
    assert "is missing or empty" in result.output


def test_a_path_that_leads_nowhere_is_said_by_its_number(terminal: Terminal, place: Path) -> None:
    (place / "x.yaml").write_text("a: 1\n")
    result = terminal.type("lint", "x.yaml", filled("<openai>"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "path 2 of 2 leads to no file or folder" in result.stderr


def test_control_characters_of_a_name_do_not_reach_the_terminal(terminal: Terminal, place: Path) -> None:
    (place / "x\x1b[2J.yaml").write_text("a: }\n")
    assert "\x1b" not in terminal.type("lint", ".").stdout
