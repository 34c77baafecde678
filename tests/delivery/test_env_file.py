"""Keys from a rendered file: what counts as there, and that nothing of a key is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.delivery.env_file import EnvFile
from keyturn.delivery.keys import NotRenderedError
from keyturn.delivery.variable_names import Names
from keyturn.material import KeyMaterial
from tests.delivery.supervised import new_key

NAME = "OPENAI_API_KEY"


def read(path: Path, text: str | bytes, name: str = NAME) -> KeyMaterial:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return EnvFile([path]).key(name).material


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("{name}={key}", "{key}"),
        ("{name}='{key}'", "{key}"),
        ('{name}="{key}"', "{key}"),
        ("export {name}={key}", "{key}"),
        ("{name}='{key}${{HOME}} # $x'", "{key}${{HOME}} # $x"),
        (r"{name}='{key}\'s \\x'", r"{key}'s \x"),
        ("{name}='{key}\\\\'", "{key}\\"),
    ],
)
def test_a_variable_is_read_as_it_was_rendered(line: str, value: str, tmp_path: Path) -> None:
    key = new_key().reveal()
    text = f"# a comment\n\nOTHER=x\n{line.format(name=NAME, key=key)}\nLAST=y\n"
    assert read(tmp_path / "keys.env", text) == KeyMaterial(value.format(key=key))


def test_the_value_names_its_own_version(tmp_path: Path) -> None:
    path, key = tmp_path / "keys.env", new_key()
    path.write_text(f"{NAME}={key.reveal()}\n")
    assert EnvFile([path]).key(NAME).version.fingerprint == key.fingerprint()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no value"),
        ("OTHER={key}\n", "no value"),
        (f"{NAME}=\n", "no value"),
        (f"{NAME}=''\n", "no value"),
        (f"{NAME}\n", "no value"),
        (f"{NAME}='<no value>'\n", "no value"),
        (f"{NAME}={{key}}", "half-written"),
        (f"OTHER=x\n{NAME}='{{key}}", "half-written"),
        (f"{NAME}='{{key}}\n", "no value"),
        (f"{NAME}='{{key}}\nOTHER=x'\n", "is no key"),
        (f"{NAME}=' {{key}}'\n", "is no key"),
    ],
)
def test_what_is_no_whole_key_is_not_taken(text: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = new_key().reveal()
    with pytest.raises(NotRenderedError, match=words) as caught:
        read(tmp_path / "keys.env", text.format(key=key))
    assert key[3:] not in f"{caught.value!r} {caught.value} {caught.value.__context__!r} {caplog.text}"


def test_a_file_that_is_not_there_or_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "keys.env"
    with pytest.raises(NotRenderedError, match=r"keys\.env cannot be read: No such file"):
        EnvFile([path]).key(NAME)
    with pytest.raises(NotRenderedError, match="cannot be read: Is a directory"):
        EnvFile([tmp_path]).key(NAME)
    with pytest.raises(NotRenderedError, match="no text in UTF-8") as caught:
        read(path, f"{NAME}={new_key().reveal()}".encode() + b"\xff\n")
    assert caught.value.__context__ is None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRenderedError, match="no value"):  # and nobody waits for a writer
        EnvFile([tmp_path / "pipe"]).key(NAME)


async def test_of_several_files_the_first_that_has_the_name_counts(tmp_path: Path) -> None:
    first, second, keys = tmp_path / "a.env", tmp_path / "b.env", [new_key() for _ in range(3)]
    first.write_text(f"A={keys[0].reveal()}\n")
    second.write_text(f"A={keys[1].reveal()}\nB={keys[2].reveal()}\n")
    variables = EnvFile([first, second]).variables({"one": Names("A"), "two": Names("B")})
    assert [(each.credential, each.name, each.rendered) for each in variables] == [("one", "A", True), ("two", "B", True)]
    assert [(await each.read()).material for each in variables] == [keys[0], keys[2]]
