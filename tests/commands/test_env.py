"""keyturn env: keys as variables for another launcher, read back as they are by what reads them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import keyturn_program
from tests.commands.conftest import Terminal

PLAIN = "sk-proj-a_B.c/d+e=f:g@h"
HOSTILE = [
    "two words",
    "#no-comment",
    "a;rm -rf x",
    "`id`",
    "$(id)",
    "${HOME}",
    "$HOME",
    "it's",
    'say "x"',
    "back\\slash",
    "a\\\\b",
    "!!",
    "ü€",
    "*?[x]",
    "~root",
    "%PATH%",
    "a\u00a0b",
]


def hold(terminal: Terminal, value: str) -> None:
    KeyMaterial(value)  # it is one that a store can hold
    terminal.world.store.documents["litellm/providers"] = {"OPENAI_API_KEY": value}


def printed(terminal: Terminal, style: str) -> str:
    result = terminal.type("env", "--proxy", "local", "--format", style)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("value", [PLAIN, *HOSTILE])
def test_a_shell_reads_back_what_the_store_holds(value: str, terminal: Terminal, tmp_path: Path) -> None:
    hold(terminal, value)
    script = tmp_path / "variables.sh"
    script.write_text(printed(terminal, "shell"))
    for shell in ("sh", "bash"):
        command = [shell, "-c", '. "$1"; printf %s "$OPENAI_API_KEY"; env | grep -c ^OPENAI_API_KEY=', shell, str(script)]
        read = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
        assert read.stdout == f"{value}1\n", shell


@pytest.mark.parametrize("value", [PLAIN, *HOSTILE])
def test_json_reads_back_what_the_store_holds(value: str, terminal: Terminal) -> None:
    hold(terminal, value)
    assert json.loads(printed(terminal, "json")) == {"OPENAI_API_KEY": value}


@pytest.mark.parametrize("value", [PLAIN, *(value for value in HOSTILE if not set(value) & set("'\\$"))])
def test_dotenv_reads_back_what_the_store_holds_also_as_a_shell_reads_it(value: str, terminal: Terminal) -> None:
    hold(terminal, value)
    text = printed(terminal, "dotenv")
    assert dotenv_values(stream=StringIO(text)) == {"OPENAI_API_KEY": value}
    read = subprocess.run(["sh", "-c", f'{text}printf %s "$OPENAI_API_KEY"'], capture_output=True, text=True, check=True)
    assert read.stdout == value


@pytest.mark.parametrize("value", [value for value in HOSTILE if set(value) & set("'\\$")])
def test_dotenv_refuses_what_its_readers_take_differently(value: str, terminal: Terminal) -> None:
    hold(terminal, value)
    result = terminal.type("env", "--proxy", "local", "--format", "dotenv")
    assert result.exit_code == 2
    assert value not in result.output
    assert "--format shell or --format json" in result.stderr


def test_a_plain_key_is_not_quoted_for_readers_that_know_no_quotes(terminal: Terminal) -> None:
    hold(terminal, PLAIN)
    assert printed(terminal, "dotenv") == f"OPENAI_API_KEY={PLAIN}\n"
    assert printed(terminal, "shell") == f"export OPENAI_API_KEY={PLAIN}\n"


@pytest.mark.parametrize("show", [False, True])
def test_a_terminal_is_shown_keys_only_when_asked_to(show: bool, tmp_path: Path) -> None:
    """A real terminal, and a store that cannot be reached: with --show it is asked, without it nothing is."""
    config = tmp_path / "keyturn.yaml"
    text = (Path(__file__).parent / "../test_config.py").read_text()
    config.write_text(text.split('GOOD = """')[1].split('"""')[0])
    master, slave = pty.openpty()
    command = [str(keyturn_program()), "--config", str(config), "env", "--proxy", "local", *(["--show"] if show else [])]
    ended = subprocess.run(
        command, stdout=slave, stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, "VAULT_TOKEN": ""}
    )
    os.close(slave)
    os.close(master)
    assert ended.returncode == 2
    assert ("the output is a terminal" in ended.stderr) is not show
    assert ("VAULT_TOKEN" in ended.stderr) is show


def test_a_store_that_cannot_be_read_prints_no_variables(terminal: Terminal) -> None:
    terminal.world.store.documents.clear()
    result = terminal.type("env", "--proxy", "local")
    assert (result.exit_code, result.stdout) == (6, "")
