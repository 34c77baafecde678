"""keyturn put: the key goes in by standard input, and never comes out."""

from __future__ import annotations

import secrets

from typer.testing import CliRunner, Result

from keyturn.cli import app
from keyturn.delivery import variable_names
from keyturn.key_parts import AWS_ACCESS_KEY
from tests.commands.conftest import Terminal


def typed(terminal: Terminal, key: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["put", "openai-prod", *words], input=key)


def emptied(terminal: Terminal) -> str:
    document = terminal.world.store.documents.pop("litellm/providers")
    assert isinstance(document, dict)
    return str(document["OPENAI_API_KEY"])


def test_the_key_is_put_and_not_printed(terminal: Terminal) -> None:
    key = emptied(terminal)
    for words in ((), ("--json",)):
        result = typed(terminal, key + "\n", *words)
        assert result.exit_code == 0, result.output
        assert key not in result.output
    assert terminal.world.store.documents["litellm/providers"] == {"OPENAI_API_KEY": key}


def test_a_refused_key_is_not_put_and_not_printed(terminal: Terminal) -> None:
    emptied(terminal)
    key = "sk-" + secrets.token_hex(24)
    result = typed(terminal, key)
    assert result.exit_code == 6
    assert "refuses this key" in result.stderr
    assert key not in result.output
    assert "litellm/providers" not in terminal.world.store.documents


def test_nothing_on_standard_input_is_wrong_usage(terminal: Terminal) -> None:
    emptied(terminal)
    result = typed(terminal, "")
    assert result.exit_code == 2
    assert "is no key" in result.stderr


def test_a_key_of_several_parts_that_cannot_be_taken_apart_is_not_put_and_not_printed(terminal: Terminal) -> None:
    emptied(terminal)
    terminal.monkeypatch.setitem(variable_names.PARTS_BY_PROVIDER_KIND, "memory", AWS_ACCESS_KEY)
    key = secrets.token_hex(24)
    result = typed(terminal, key)
    assert result.exit_code == 2
    assert "is not the JSON object" in result.stderr
    assert key not in result.output
    assert "litellm/providers" not in terminal.world.store.documents
