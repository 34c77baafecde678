"""What is typed wrongly: exit code 2, a sentence that helps, no traceback, and never the key that was pasted."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from tests.commands.conftest import Terminal

KEY = "<key>"  # replaced by one that is made for the test

WRONG = [
    "<key>",
    "rotate",
    "rotate <key>",
    "rotate openai-prod <key>",
    "rotate openai-prod --reason <key>",
    "rotate openai-prod --overlap <key>",
    "rotate openai-prod --<key>",
    "rotate openai-prod --overlap 5",
    "rotate openai-prod --overlap 99999999d",
    "retire <key>",
    "retire openai-prod --now <key>",
    "plan <key>",
    "status <key>",
    "doctor <key>",
    "serve --limit <key>",
    "serve --limit 0",
    "env",
    "env --proxy <key>",
    "env --proxy local --format <key>",
    "env --proxy local --format k8s",
    "env --proxy local --format k8s --name <key>_",
    "env --proxy local --format json --name keys",
    "exec -- true",
    "exec --proxy local",
    "exec --proxy <key> -- true",
    "exec --proxy local -- no-such-program",
    "exec --proxy local -- /<key>",
    "exec --proxy local --start-timeout <key> -- true",
    "exec --proxy local --state /no/such/folder/state -- true",
    "exec --proxy local --cache here -- true",
    "exec --proxy local --cache-key env:SECRET -- true",
    "exec --proxy local --cache here --cache-key <key> -- true",
    "exec --proxy local --cache here --cache-key env:NOT_SET -- true",
    "exec --proxy local --cache here --cache-key env:SHORT_SECRET -- true",
    "exec --proxy local --cache /no/such/folder/file --cache-key env:KEYTURN_CONTROL_TOKEN -- true",
    "exec --proxy local --cache here --cache-key env:KEYTURN_CONTROL_TOKEN --cache-max-age <key> -- true",
    "exec --proxy local --health 127.0.0.1:0 -- true",
    "exec --proxy local --drain 1s -- true",
    "exec --proxy local --token env:T -- true",
    "exec --proxy local --control http://127.0.0.1:0 --state here -- true",
    "exec --proxy local --control http://127.0.0.1:0 --cache here -- true",
    "lint",
    "lint <key>",
    "lint . --format <key>",
    "lint . --fail-on <key>",
    "exec --proxy local --control http://127.0.0.1:0",
    "exec --proxy <key> --control http://127.0.0.1:0 -- true",
    "exec --proxy local --control <key> -- true",
    "exec --proxy local --control http://0.0.0.0:0 -- true",
    "exec --proxy local --control unix:/no/such/folder/socket -- true",
    "exec --proxy local --control http://127.0.0.1:0 --health <key> -- true",
    "exec --proxy local --control http://127.0.0.1:0 --token <key> -- true",
    "exec --proxy local --control http://127.0.0.1:0 --token env:NOT_SET -- true",
    "exec --proxy local --control http://127.0.0.1:0 --drain <key> -- true",
    "exec --proxy local --control http://127.0.0.1:0 --drain 3 -- true",
    "exec --proxy local --control http://127.0.0.1:0 --grace forever -- true",
    "exec --proxy local --control http://127.0.0.1:0 --start-timeout -1s -- true",
    "exec --proxy local --control http://127.0.0.1:0 --readiness <key> -- true",
    "exec --proxy local --control http://127.0.0.1:0 -- no-such-program",
    "--config <key> status",
]


@pytest.mark.parametrize("typed", WRONG)
def test_what_is_wrong_ends_with_2_and_is_not_repeated(typed: str, terminal: Terminal) -> None:
    terminal.monkeypatch.setenv("KEYTURN_CONTROL_TOKEN", secrets.token_hex(16))
    terminal.monkeypatch.setenv("SHORT_SECRET", secrets.token_hex(8))
    key = "sk-" + secrets.token_hex(24)
    result = terminal.type(*typed.replace(KEY, key).split())
    told = re.sub(r"[\s│]", "", result.output)  # what is in a frame is broken into lines
    assert result.exit_code == 2, result.output
    assert key not in told and key[8:24] not in told
    assert "Traceback" not in result.output
    assert len(result.stderr) > 20, "it says something"
    assert result.stdout == "", "a script that reads the output is given nothing"


def test_an_unknown_name_is_answered_with_those_there_are(terminal: Terminal) -> None:
    assert "use one of: openai-prod" in terminal.type("rotate", "openai-staging").stderr
    assert "use one of: local" in terminal.type("env", "--proxy", "other").stderr


def test_a_mistyped_word_is_repeated_when_it_is_short(terminal: Terminal) -> None:
    assert "No such command 'rotat'" in terminal.type("rotat").stderr
    assert "'urgent' is not one of" in terminal.type("rotate", "openai-prod", "--reason", "urgent").stderr


def test_a_refused_duration_names_its_option(terminal: Terminal) -> None:
    assert "--overlap must be a duration such as 90s" in terminal.type("rotate", "openai-prod", "--overlap", "1").stderr


@pytest.mark.parametrize("command", [["status"], ["plan", "openai-prod"], ["doctor"], ["rotate", "openai-prod"]])
def test_a_faulty_file_is_reported_whole_with_its_lines(command: list[str], terminal: Terminal) -> None:
    text = terminal.config.read_text().replace("org: {kind: memory", "org: {kind: memory, size: 1")
    terminal.config.write_text(text.replace("overlap: 1h", "overlap: 1h\n    colour: red"))
    result = terminal.type(*command)
    assert result.exit_code == 2
    for fault in (
        "providers.org.size (line 3): unknown setting",
        "credentials.openai-prod.colour (line 15): unknown setting",
    ):
        assert fault in result.stderr
        assert fault in terminal.json(*command, code=2)["error"]


def test_without_a_file_it_is_said_how_to_name_one(terminal: Terminal, tmp_path: Path) -> None:
    terminal.config.unlink()
    result = terminal.type("status")
    assert (result.exit_code, "--config or $KEYTURN_CONFIG" in result.stderr) == (2, True)


def test_a_file_that_is_named_is_used(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(terminal.config.read_text().replace("openai-prod", "openai-other"))
    result = terminal.type("--config", str(other), "status")
    assert "openai-other" in result.stdout


@pytest.mark.parametrize("command", [["rotate", "openai-prod"], ["retire", "openai-prod"], ["serve"]])
def test_outside_the_project_it_is_said_where_to_go(command: list[str], terminal: Terminal, tmp_path: Path) -> None:
    terminal.monkeypatch.setenv("KEYTURN_ROOT", str(tmp_path))
    result = terminal.type(*command)
    assert (result.exit_code, "$KEYTURN_ROOT" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "words", [[], ["rotate"], ["retire"], ["plan"], ["status"], ["doctor"], ["exec"], ["env"], ["lint"], ["serve"], ["demo"]]
)
def test_every_command_explains_itself(words: list[str], terminal: Terminal) -> None:
    result = terminal.type(*words, "--help")
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_the_help_lists_the_exit_codes(terminal: Terminal) -> None:
    told = terminal.type("--help").stdout
    assert all(f"{code} " in told for code in range(7))
