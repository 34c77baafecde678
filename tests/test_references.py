"""References name secrets without holding them; anything else is refused, and never printed."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.references import Address, SecretReference, parse_store_reference, resolver

REFERENCE: TypeAdapter[str] = TypeAdapter(SecretReference)
ADDRESS: TypeAdapter[str] = TypeAdapter(Address)


def a_key() -> str:
    return "sk-" + secrets.token_hex(24)


@pytest.mark.parametrize(
    "reference",
    [
        "env:OPENAI_ADMIN_KEY",
        "env:_x",
        "file:secrets/admin",
        "file:/run/secrets/admin",
        "store:vault/a/b#F",
        "store:aws/prod/key",
    ],
)
def test_the_three_forms_are_references(reference: str) -> None:
    assert REFERENCE.validate_python(reference) == reference


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "env:", "env:1X", "env:A B", "file:", "file:a b", "file:a\x00", "file:\ud800", "store:vault", "store:/a"),
        *("store:vault/", "vault:a/b", 7, None),
    ],
)
def test_anything_else_is_none(wrong: object) -> None:
    with pytest.raises(ValidationError, match="env:NAME, file:PATH or store:NAME/PATH#FIELD"):
        REFERENCE.validate_python(wrong)


def test_a_literal_key_is_refused_and_not_printed() -> None:
    key = a_key()

    class Settings(BaseModel):
        model_config = ConfigDict(hide_input_in_errors=True)
        admin_key: SecretReference

    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"admin_key": key})
    assert key not in str(refused.value)
    assert "rotate it" in str(refused.value)


async def test_env_reads_a_variable_anew_each_time() -> None:
    environ = {"ADMIN": a_key()}
    resolve = resolver(environ=environ)
    assert (await resolve("env:ADMIN")).reveal() == environ["ADMIN"]
    environ["ADMIN"] = a_key()
    assert (await resolve("env:ADMIN")).reveal() == environ["ADMIN"]


async def test_file_drops_one_newline_and_no_more(tmp_path: Path) -> None:
    key, path = a_key(), tmp_path / "key"
    path.write_text(f"{key}\n")
    assert (await resolver()(f"file:{path}")).reveal() == key
    path.write_text(f"{key}\n\n")
    with pytest.raises(MisconfiguredError) as refused:
        await resolver()(f"file:{path}")
    assert key not in str(refused.value)
    assert str(path) in str(refused.value)


async def test_store_asks_the_store_that_it_names() -> None:
    key, asked = KeyMaterial(a_key()), []

    async def read(secret: SecretRef) -> KeyMaterial:
        asked.append(secret)
        return key

    assert await resolver(read)("store:vault/litellm/providers#ADMIN") == key
    assert asked == [SecretRef("vault", "litellm/providers", "ADMIN")]


async def test_a_store_reference_is_refused_where_there_are_no_stores() -> None:
    with pytest.raises(MisconfiguredError, match="a reference of this kind cannot be used here"):
        await resolver()("store:vault/a#B")


@pytest.mark.parametrize("content", ["", "\n", " padded", "two\nlines"])
async def test_what_holds_no_usable_secret_is_named_and_not_quoted(content: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    for reference, resolve in ((f"file:{path}", resolver()), ("env:X", resolver(environ={"X": content}))):
        with pytest.raises(MisconfiguredError) as refused:
            await resolve(reference)
        assert reference in refused.value.message
        assert refused.value.remedy
        assert not content.strip() or content not in str(refused.value)


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, why in (("none", "FileNotFoundError"), (".", "IsADirectoryError"), ("binary", "UnicodeDecodeError")):
        with pytest.raises(MisconfiguredError, match=why) as refused:
            await resolver()(f"file:{tmp_path / name}")
        assert refused.value.__context__ is None, "a codec's error holds what it read"


async def test_a_file_that_never_ends_is_too_large() -> None:
    with pytest.raises(MisconfiguredError, match="too large for a secret"):
        await resolver()("file:/dev/zero")


@given(
    st.from_regex(r"\A[a-z0-9-]{1,10}\Z"),
    st.from_regex(r"\A[a-z][a-z0-9/_.-]{0,30}\Z"),
    st.sampled_from([None, "F", "a.b-c_D"]),
)
def test_a_store_reference_is_read_as_it_is_written(store: str, path: str, field: str | None) -> None:
    written = f"store:{store}/{path}" + (f"#{field}" if field else "")
    assert parse_store_reference(REFERENCE.validate_python(written)) == SecretRef(store, path, field)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("https://vault.example/", "https://vault.example"),
        ("https://gateway.example/openai/v1/", "https://gateway.example/openai/v1"),
        ("http://my_vault:8200", "http://my_vault:8200"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_address_is_kept_without_its_last_slash(address: str, kept: str) -> None:
    assert ADDRESS.validate_python(address) == kept


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "vault:8200", "ftp://x", "http://", "http://user:word@x", "http://x y", "http://x:99999", "http://x:1x"),
        # What an HTTP library would fail at when it is asked, with an exception of its own.
        *(
            "http://x:0",
            "http://x:",
            "http://a..b",
            "http://-x",
            f"http://{'x' * 64}",
            "http://xn--x",
            "http://[::1",
            "http://[x]",
        ),
        *("http://[::::]", "http://x\\y", "http://x\x00", "http://b\u00fccher", f"http://x/{'y' * 2000}", "http://x/\x1b"),
        # What would be sent to a path that is joined to it, and shown in messages.
        *("http://x?key=y", "http://x/#y", "http://x/?y"),
    ],
)
def test_an_address_with_a_login_or_without_a_scheme_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        ADDRESS.validate_python(wrong)
