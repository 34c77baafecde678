"""keyturn env: keys as variables for another launcher, read back as they are by what reads them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from kubernetes.client import V1Secret

from keyturn.delivery import variable_names
from keyturn.key_parts import AWS_ACCESS_KEY, stranger
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


def printed(terminal: Terminal, style: str, *more: str) -> str:
    result = terminal.type("env", "--proxy", "local", "--format", style, *more)
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


YAML = [
    "yes",
    "007",
    "1e3",
    "2026-01-01",
    "null",
    "a: b",
    "- a",
    "&a",
    "{{a}}",
    "$$",
    "a$",
    "a\u0085x",
    "a\u2028b",
    "\ufeffa",
]


def indented(text: str, by: str) -> str:
    return "".join(f"{by}{line}\n" for line in text.splitlines())


@pytest.mark.parametrize("value", [PLAIN, *HOSTILE, *YAML])
def test_compose_reads_back_what_the_store_holds(value: str, terminal: Terminal, tmp_path: Path) -> None:
    hold(terminal, value)
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  a:\n    image: a\n{indented(printed(terminal, 'compose'), '    ')}"
    )
    program = Path(sys.executable).with_name("docker-compose")
    command = [str(program), "--project-name", "a", "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/not/here"}
    read = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(read.stdout)["services"]["a"]["environment"]["OPENAI_API_KEY"]
    assert found.replace("$$", "$") == value, "it writes a dollar as it reads it: doubled"


@pytest.mark.parametrize("value", [PLAIN, *HOSTILE, *YAML])
def test_kubernetes_reads_back_what_the_store_holds(value: str, terminal: Terminal) -> None:
    hold(terminal, value)
    document = yaml.safe_load(printed(terminal, "k8s", "--name", "litellm-keys"))
    secret = V1Secret.from_dict(document)
    assert secret is not None and secret.metadata is not None
    assert (secret.api_version, secret.kind, secret.type, secret.metadata.name) == ("v1", "Secret", "Opaque", "litellm-keys")
    assert secret.string_data == {"OPENAI_API_KEY": value}
    assert set(document) == {"apiVersion", "kind", "metadata", "type", "stringData"}


@pytest.mark.parametrize("name", ["a", "litellm-keys", "a.b-c.d", "0", "a" * 63, ".".join(["a" * 60] * 4)])
def test_a_secret_may_have_any_name_that_kubernetes_takes(name: str, terminal: Terminal) -> None:
    hold(terminal, PLAIN)
    assert yaml.safe_load(printed(terminal, "k8s", "--name", name))["metadata"] == {"name": name}


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a-", "a..b", "a/b", "a b", "a\n", "a" * 64, ".".join(["a" * 60] * 5)]
)
def test_any_other_name_is_refused(name: str, terminal: Terminal) -> None:
    hold(terminal, PLAIN)
    result = terminal.type("env", "--proxy", "local", "--format", "k8s", "--name", name)
    assert (result.exit_code, result.stdout) == (2, "")


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


@pytest.mark.parametrize("style", ["shell", "dotenv", "json", "compose", "k8s"])
def test_a_key_of_several_parts_is_a_variable_for_each(
    style: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(variable_names.PARTS_BY_PROVIDER_KIND, "memory", AWS_ACCESS_KEY)
    pair = stranger(AWS_ACCESS_KEY)
    hold(terminal, pair.reveal())
    text = printed(terminal, style, *(("--name", "keys") if style == "k8s" else ()))
    parts = json.loads(pair.reveal())
    if style in ("shell", "dotenv"):
        read: object = dotenv_values(stream=StringIO(text))
    else:
        found = yaml.safe_load(text)
        read = {"json": found, "compose": found.get("environment"), "k8s": found.get("stringData")}[style]
    assert read == parts
    hold(terminal, "no pair")
    result = terminal.type("env", "--proxy", "local", "--format", style, *(("--name", "keys") if style == "k8s" else ()))
    assert result.exit_code == 2
    assert (result.stdout, "no pair" in result.output) == ("", False)
    assert "credentials.openai-prod" in result.stderr
