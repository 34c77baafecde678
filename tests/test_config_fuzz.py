"""Whatever stands in keyturn.yaml: a configuration, or an error in our words that says where and never what."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.assembly import Adapters
from keyturn.config import Config, ConfigError, load, parse
from keyturn.references import resolver
from tests.hostile import PLANTED, Changed, changed, everything_said, fuzz, in_our_words, planted, tells, texts
from tests.test_config import GOOD

DOCUMENT: dict[str, Any] = yaml.safe_load(GOOD)
FAULT = re.compile(r"(the file|[A-Za-z0-9_.@/+*-]+)( \(line \d+\))?: \S.*")


def tried(source: str) -> Config | ConfigError:
    """What comes of it. Any other exception comes through."""
    try:
        return parse(source)
    except ConfigError as error:
        assert error.faults
        assert in_our_words(error), repr(str(error))
        assert all(FAULT.fullmatch(fault) for fault in error.faults), error.faults
        assert str(error).startswith("keyturn.yaml has ")
        return error


def written(document: Any) -> str:
    try:
        return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    except (yaml.YAMLError, ValueError):  # a number of more digits than Python writes
        return "{}"


# Structure: something wrong at each place of a good file


@fuzz(80)
@given(changed(DOCUMENT, most=3))
def test_a_changed_file_is_a_configuration_or_says_what_is_wrong_with_it(wrong: Changed) -> None:
    found = tried(written(wrong.document))
    if isinstance(found, Config):
        can_be_wired(found)
    else:
        assert not tells(everything_said(found), wrong.key or "nothing was planted")
        assert all("(line " in fault for fault in found.faults) or not wrong.document


@fuzz(40)
@given(changed(DOCUMENT, most=1))
def test_a_key_is_refused_wherever_it_stands_and_not_told(wrong: Changed) -> None:
    if wrong.key:
        found = tried(written(wrong.document))
        assert isinstance(found, ConfigError)
        assert not tells(everything_said(found), wrong.key)


FORMS = (
    "{}",
    "env:{}",
    "file:/keys/{}",
    "store:vault/{}",
    "https://user:{}@host",
    "https://host/?key={}",
    "Bearer {}",
    "X={}",
)


PUT: dict[str, Callable[[str], str]] = {
    "value": lambda text: GOOD.replace("proj_abc", f'"{text}"'),
    "reference": lambda text: GOOD.replace("env:OPENAI_ADMIN_KEY", text),
    "address": lambda text: GOOD.replace('"http://127.0.0.1:8200"', f'"{text}"'),
    "kind": lambda text: GOOD.replace("kind: openai", f'kind: "{text}"'),
    "item": lambda text: GOOD.replace("[local]", f'[local, "{text}"]'),
    "credential": lambda text: GOOD.replace("openai-prod:", f'"{text}":'),
    "store": lambda text: GOOD.replace("  vault:", f'  "{text}":'),
    "setting": lambda text: GOOD.replace("    overlap: 24h", f'    "{text}": 24h'),
    "section": lambda text: f'"{text}": {{}}\n{GOOD}',
    "comment": lambda text: f"{GOOD}# {text}\n",
    "tag": lambda text: GOOD.replace("proj_abc", f"!!bool '{text}'"),
}


@pytest.mark.parametrize("shape", PLANTED)
def test_each_shape_of_key_is_known(shape: str) -> None:
    refused_as_a_key(PUT["value"](PLANTED[shape]), PLANTED[shape])


@fuzz(80)
@given(planted, st.sampled_from(FORMS), st.sampled_from(sorted(PUT)))
def test_each_shape_of_key_is_refused_in_each_form_at_each_place(key: str, form: str, place: str) -> None:
    refused_as_a_key(PUT[place](form.format(key)), key)


def refused_as_a_key(source: str, key: str) -> None:
    found = tried(source)
    assert isinstance(found, ConfigError), source
    assert "rotate it" in str(found)
    assert not tells(everything_said(found), key)


# Text: YAML itself

SNIPPETS = (
    *(
        "&a ",
        "*a",
        "*b",
        "<<: *a",
        "<<: [1]",
        "<<: ",
        "? [a, b]\n: c",
        "? {a: b}\n: c",
        "!!python/object:os.system x",
        "!x y",
    ),
    *(
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!omap [a: b]",
        "!!pairs [a: b]",
        "!!timestamp x",
        "!!bool x",
        "!!int ''",
        "!!int x",
    ),
    *(
        "!!float x",
        "!!null x",
        "!!str {a: b}",
        "!!map [a]",
        "!!seq {a: b}",
        "!!map x",
        "!<tag:yaml.org,2002:int> z",
        "!!merge x",
    ),
    *(
        '"\\ud800"',
        '"\\0"',
        '"\\UFFFFFFFF"',
        '"\\x1b[31m"',
        '"\\u202e"',
        '"\\z"',
        "'",
        '"',
        "%YAML 1.1\n---\n",
        "---\n",
        "...\n",
    ),
    *(
        "@",
        "`",
        "\t",
        "%",
        "|",
        ">",
        "|9",
        "- ",
        ": ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "#",
        "=",
        "~",
        "2020-99-99",
        "2020-01-01",
    ),
    *(
        ".nan",
        "-.inf",
        "0b_",
        "0x_",
        "0o8",
        "1:2:3",
        "1_0",
        "9" * 5000,
        "yes",
        "no",
        "null",
        "\ufeff",
        "\x85",
        "\u2028",
        "\x07",
    ),
    *("\ud800", "\x00", "é", "&a [*a]", "&a {x: *a}", "[" * 40, "{a: " * 40, "- " * 40, "\n", "\n  ", "  openai-prod: {}\n"),
    *("providers: {}\n", "openai-org: {kind: openai}\n", "credentials:\n", "kind: openai, ", ", kind: process"),
)


@st.composite
def _texts(draw: Any) -> tuple[str, str]:
    """The good file with pieces put in, taken out, or doubled; and the key that is among them."""
    source, key = GOOD, draw(planted)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(source)))
        end = min(len(source), start + draw(st.sampled_from([0, 0, 0, 1, 3, 20])))
        piece = draw(st.sampled_from([*SNIPPETS, key, f"{key}: x\n", f"&{key} x", f"!{key} x", f"!!bool {key}", f"*{key}"]))
        source = source[:start] + draw(st.sampled_from([piece, piece, source[start:end] * 2])) + source[end:]
    return source, key


@fuzz(100)
@given(_texts())
def test_whatever_is_done_to_its_text_is_answered_in_our_words(made: tuple[str, str]) -> None:
    source, key = made
    found = tried(source)
    if isinstance(found, ConfigError):
        assert not tells(everything_said(found), key)
    else:  # glued to a word it is not known: `task-...` is no key
        assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(key)}", source), (
            "a key that stands whole in the file was let through"
        )


@fuzz(50)
@given(st.text() | texts | st.lists(st.sampled_from(SNIPPETS), max_size=8).map("".join))
@example("a: !!bool sk-" + "x" * 20)
def test_any_text_is_answered_in_our_words(source: str) -> None:
    assert isinstance(tried(source), ConfigError)


@fuzz(20)
@given(st.binary(max_size=60) | st.sampled_from([GOOD.encode(each) for each in ("utf-16", "utf-32", "utf-8-sig")]))
def test_any_bytes_are_answered_in_our_words(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        load(path)
    except ConfigError as error:
        assert in_our_words(error)


# What is ordinary loads


NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,39}\Z").filter(lambda name: not name.startswith(("sk-", "hf-")))
WORDS = st.sampled_from(
    [
        *("task-force", "disk-2", "risk-team-of-ten-keys", "desk-keys-of-the-team", "mask-1234567890123456"),
        *("ask-me-anything-anytime", "openai-production-europe-west1", "xai-grok-4-fast-reasoning", "hf-inference"),
        *("gsk-team", "fw-edge", "pplx-sonar-pro", "r8-models", "akia-migration", "aiza", "prod/openai/api_key"),
        *("litellm/providers/eu-west-1/2026", "gpt-4o-mini-2024-07-18", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        *("meta-llama/Llama-3.3-70B-Instruct", "proj_AbCdEfGhIjKlMnOpQrStUvWx"),
    ]
)


@fuzz(25)
@given(
    NAMES,
    NAMES,
    WORDS,
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,30}(/[A-Za-z][A-Za-z0-9_.-]{0,20}){0,3}\Z"),
    st.from_regex(r"\A[A-Z][A-Z0-9_]{0,30}\Z"),
    st.from_regex(r"\A[a-z][a-z0-9-]{0,20}(\.[a-z][a-z0-9-]{0,20}[a-z0-9]){0,3}(:[1-9][0-9]{0,3})?\Z").filter(
        lambda host: "-." not in host and "-:" not in host and not host.endswith("-")
    ),
    st.sampled_from(["5 3 * * 1", "0 0 1 * *", "*/5 2 * * MON-FRI", "0 3 1,15 * *", "30 4 * 1-6/2 *", "0 0 * * sun"]),
)
def test_ordinary_settings_load(
    credential: str, store: str, words: str, path: str, variable: str, host: str, cron: str
) -> None:
    document = yaml.safe_load(GOOD)
    document["stores"] = {store: {**document["stores"]["vault"], "address": f"https://{host}"}}
    document["stores"][store]["auth"]["token"] = f"env:{variable}"
    settings = document["credentials"]["openai-prod"]
    settings["secrets"] = [{"store": store, "path": path, "field": variable}]
    settings["canary"]["model"] = words
    settings["schedule"] = cron
    settings["overlap"] = "1m"
    document["credentials"] = {credential: settings}
    config = parse(written(document))
    assert list(config.credentials) == [credential]
    assert config.credential(credential).secrets[0].path == path
    can_be_wired(config)


def can_be_wired(config: Config) -> None:
    """What loads can be made into adapters, before anything is asked or created."""
    adapters = Adapters(config, resolver(environ={}))
    for name in config.providers:
        adapters.provider(name)
    for name in config.stores:
        adapters.store(name)
    for name in config.proxies:
        adapters.fleet(name)


# Size and time: these would take minutes, or for ever, where something is quadratic or worse


@pytest.mark.parametrize(
    "source",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'.replace('*a0', '*a')] * 10)}]\n" for n in range(1, 9)),
        "a: &a {x: x}\n"
        + "".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n".replace("*a0", "*a") for n in range(1, 60)),
        "a: " + "[" * 200_000,
        "a: " + "{b: " * 200_000,
        "- " * 200_000,
        "? " * 200_000,
        "a: '" + "x" * 3_000_000 + "'",
        "a: " + "9" * 200_000,
        GOOD.replace("overlap: 24h", "overlap: " + "9" * 200_000),
        GOOD.replace("overlap: 24h", "overlap: " + "1w" * 100_000),
        GOOD.replace("0 3 * * 1", "0 3 * * " + ",".join(["1"] * 200_000)),
        GOOD.replace("0 3 * * 1", "0 3 * * 1" + " " * 200_000),
        GOOD.replace("overlap: 24h", "overlap: 1h\n    timezone: " + "x/" * 100_000),
        GOOD.replace("proj_abc", "sk-" * 100_000),
        GOOD.replace("env:OPENAI_ADMIN_KEY", "store:a/" + "a/" * 100_000 + "%"),
        GOOD.replace("http://127.0.0.1:8200", "http://" + "a." * 100_000 + "%"),
    ],
    ids=lambda source: f"{source[:12].strip()}-{len(source)}",
)
def test_a_monstrous_file_is_refused_soon(source: str) -> None:
    assert isinstance(tried(source), ConfigError)


# At the terminal


@pytest.mark.parametrize(
    "wrong",
    [
        lambda key: GOOD.replace("proj_abc", f"!!bool {key}").replace("openai-prod:", f'"\\ud800{key}":') + f"x: {key}\n",
        lambda key: GOOD.replace("providers:", f'"{key}": [{{\n providers:'),
    ],
    ids=["faults", "not-yaml"],
)
def test_the_command_line_does_not_tell_it_either(wrong: Any, tmp_path: Path) -> None:
    key = PLANTED["openai_project"]
    (tmp_path / "keyturn.yaml").write_text(wrong(key))
    environment = {**os.environ, "PREFECT_API_URL": "", "KEYTURN_CONFIG": str(tmp_path / "keyturn.yaml")}
    command = [str(Path(sys.executable).parent / "keyturn"), "doctor"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "line " in done.stderr
    assert not tells(done.stdout + done.stderr, key)
    assert "Traceback" not in done.stderr
