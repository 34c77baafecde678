"""Hostile input for property tests: what is not meant, at every place of something that is.

The examples are the same in every run, so that whatever CI finds, anybody finds. A soak tries others, new ones each time,
and prints how to repeat what it finds:

    KEYTURN_FUZZ_EXAMPLES=20000 .venv/bin/pytest -q tests/test_config_fuzz.py
"""

from __future__ import annotations

import copy
import gzip
import json
import logging
import os
import secrets
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from keyturn.errors import KeyturnError
from keyturn.quiet import hold_vendor_loggers

SOAK = os.environ.get("KEYTURN_FUZZ_EXAMPLES")

Draw = Callable[[st.SearchStrategy[Any]], Any]
Place = tuple[Any, ...]


def fuzz(examples: int) -> settings:
    """How a property is tried: so many examples, or as many as $KEYTURN_FUZZ_EXAMPLES says."""
    return settings(
        max_examples=int(SOAK) if SOAK else examples,
        derandomize=not SOAK,
        database=None,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


# Keys, and where they are told ------------------------------------------------------------------------------------------


def _random(length: int, alphabet: str = "ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789") -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length - 2)) + "7Z"


def _keys() -> dict[str, str]:
    upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return {
        "openai": "sk-" + _random(48),
        "openai_project": "sk-proj-" + _random(60),
        "openai_admin": "sk-admin-" + _random(48),
        "openai_account": "sk-svcacct-" + _random(60),
        "anthropic": "sk-ant-api03-" + _random(80),
        "openrouter": "sk-or-v1-" + secrets.token_hex(32),
        "litellm": "sk-" + _random(22),
        "lower_case": "sk-" + secrets.token_hex(16),  # a name in keyturn.yaml may look like this, but for its shape
        "xai": "xai-" + _random(80),
        "perplexity": "pplx-" + _random(48),
        "groq": "gsk_" + _random(52),
        "huggingface": "hf_" + _random(34),
        "replicate": "r8_" + _random(37),
        "fireworks": "fw_" + _random(24),
        "elevenlabs": "sk_" + secrets.token_hex(24),
        "google": "AIza" + _random(35),
        "google_bound": "AQ." + _random(50),
        "nvidia": "nvapi-" + _random(64),
        "cerebras": "csk-" + secrets.token_hex(24),
        "databricks": "dapi" + secrets.token_hex(16),
        "together": "tgp_v1_" + _random(43),
        "voyage": "pa-" + _random(43),
        "github": "ghp_" + _random(36),
        "aws": "AKIA" + _random(16, upper),
        "aws_temporary": "ASIA" + _random(16, upper),
        "bedrock": "ABSK" + _random(100),
        "vault": "hvs." + _random(90),
        "vault_batch": "hvb." + _random(120),
        "vault_old": "s." + _random(24),
        "jwt": f"eyJ{_random(30)}.eyJ{_random(60)}.{_random(43)}",
    }


PLANTED = _keys()  # one of each shape that keyturn knows, made up at each start
planted = st.sampled_from(sorted(PLANTED)).map(PLANTED.__getitem__)


def tells(text: str, key: str) -> bool:
    """Whether a text holds the key, or 12 characters out of its middle or its end."""
    middle = len(key) // 2
    return any(piece in text for piece in (key, key[-12:], key[middle - 6 : middle + 6]))


def everything_said(error: BaseException) -> str:
    """All that anything could print of an error, also of what stands hidden behind `from None`."""
    said: list[str] = []
    queue, seen = [error], set()
    while queue:
        each = queue.pop()
        seen.add(id(each))
        said += [*traceback.format_exception(each), repr(each), repr(each.args), repr(vars(each))]
        said += [repr(getattr(each, name, "")) for name in ("doc", "object")]  # what JSON and codecs failed on
        queue += [other for other in (each.__cause__, each.__context__) if other is not None and id(other) not in seen]
    return "\n".join(said)


def in_our_words(error: BaseException) -> bool:
    """Whether it is an error of ours that says something, and nothing that a terminal or an encoding could choke on."""
    said = str(error)
    return isinstance(error, KeyturnError) and bool(error.message.strip()) and said.isascii() and _printable(said)


def _printable(text: str) -> bool:
    return all(line.isprintable() for line in text.splitlines())


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged() -> Iterator[list[str]]:
    """Every line that is logged meanwhile, at DEBUG. The vendors' loggers are held, as the product holds them."""
    hold_vendor_loggers()
    root, kept = logging.getLogger(), _Kept()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    try:
        yield kept.lines
    finally:
        root.setLevel(before)
        root.removeHandler(kept)


def quietly(ask: Callable[[], Any], *secret: str) -> Any:
    """What it gives, or the error of ours that it raises; every other exception comes through. No secret is told."""
    found: Any = None
    with logged() as lines:
        try:
            found = ask()
        except KeyturnError as error:
            assert in_our_words(error), repr(str(error))
            assert not any(tells(everything_said(error), each) for each in secret if each)
            found = error
    assert not any(tells(line, each) for line in lines for each in secret if each)
    return found


# Values -----------------------------------------------------------------------------------------------------------------

TEXTS: Sequence[str] = (
    *("", " ", "x", "0", "-1", "1e999", "null", "true", "NaN", "²", "٣", "\x00", "\ud800", "\x1b[31m", "\u202e", "é", "🔑"),
    *(
        "..",
        "../../sys/seal",
        "a/b",
        "/",
        "a//b",
        "?x=1",
        "#",
        "%2e%2e",
        "${HOME}",
        "{{ x }}",
        "<html>",
        "[[[",
        "2025-13-45",
    ),
    *("2025-01-01T00:00:00Z", "env:", "env:X", "file:", "file:\x00", "store:vault/x#Y", "store:x/y", "5s\n", "0s"),
    *("http://", "http://[", "http://x:99999", "http://x:0", "http://user:word@x", "http://a..b", "http://x\\y", "unix:/x"),
    *("99999999999w", "* * * * *", "0 0 30 2 *", "x" * 70, "x" * 5000),
)
NUMBERS: Sequence[int | float] = (
    *(-1, 0, 1, 2**31, 2**63, 10**18, 10**400, 253402300800, -62135596801, 1e308, 0.1, -0.0),
    *(float("nan"), float("inf"), float("-inf")),
)
texts = st.sampled_from(TEXTS) | st.text(max_size=12)
leaves = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


@dataclass(frozen=True)
class Changed:
    """A document with something wrong in it, and the key that was planted there ("" where none was)."""

    document: Any
    key: str


def places(document: Any, place: Place = ()) -> Iterator[Place]:
    """The path of every value in a document; the document itself is the first."""
    yield place
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, value in inner:
        yield from places(value, (*place, name))


def at(document: Any, place: Place) -> Any:
    for name in place:
        document = document[name]
    return document


@st.composite
def changed(draw: Draw, golden: Any, most: int = 2, keys: st.SearchStrategy[str] = planted) -> Changed:
    """The golden document with one to `most` changes: replaced, deleted, repeated, wrapped, swapped, renamed, planted in."""
    root, key = {"root": copy.deepcopy(golden)}, draw(keys)
    for _ in range(draw(st.integers(1, most))):
        there = list(places(root))[1:]
        if not there:
            break
        place = draw(st.sampled_from(there))
        parent, name, value = at(root, place[:-1]), place[-1], at(root, place)
        kind = draw(
            st.sampled_from(["replace", "replace", "plant", "wrap", "as text", "swap", "rename", "repeat", "delete"])
        )
        if kind == "replace":
            parent[name] = draw(values)
        elif kind == "plant":
            parent[name] = draw(st.sampled_from([key, f"a {key}.", [key], {"x": key}, {key: value}, {"x": [{"y": key}]}]))
        elif kind == "wrap":
            parent[name] = draw(st.sampled_from([[value], [value, value], {"x": value}, [], {}, [[[[value]]]]]))
        elif kind == "as text":
            parent[name] = json.dumps(value)
        elif kind == "swap":
            parent[name] = copy.deepcopy(at(root, draw(st.sampled_from(there))))
        elif len(place) == 1:
            root["root"] = draw(values)
        elif isinstance(parent, list):
            parent[name : name + 1] = [] if kind == "delete" else [value, copy.deepcopy(value)]
        else:
            other = draw(st.sampled_from([key, key, *TEXTS, *(each[-1] for each in there if isinstance(each[-1], str))]))
            if kind != "repeat":
                del parent[name]
            if kind != "delete":
                parent[other] = value
    return Changed(root["root"], key if _holds(root, key) else "")


def _holds(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(each, key) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(_holds(each, key) for each in value)
    return isinstance(value, str) and key in value


# Answers ----------------------------------------------------------------------------------------------------------------

STATUSES = (
    *(199, 200, 201, 202, 204, 206, 226, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408, 409),
    *(410, 412, 413, 415, 418, 422, 425, 429, 451, 472, 473, 499, 500, 501, 502, 503, 504, 507, 520, 529, 599, 600, 999),
)
RETRY_AFTER = ("", "1", "0", "-1", "1.5", "²", "1e400", "9" * 400, "nan", "Wed, 21 Oct 2026 07:28:00 GMT", "soon")


@dataclass(frozen=True)
class Answer:
    """What a server says. `document`: the JSON in it, where it has one that can be read whole; `key` as in Changed."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    key: str = ""
    document: Any = None
    garbage: bytes | None = None  # what goes over the wire instead

    def with_headers(self, *more: tuple[str, str]) -> Answer:
        return replace(self, headers=(*self.headers, *more))

    @property
    def raw(self) -> bytes:
        """As it goes over the wire. The connection is closed after it."""
        if self.garbage is not None:
            return self.garbage
        named = {name.lower() for name, _ in self.headers}
        lines = [f"HTTP/1.1 {self.status} {self.key or 'Words'}", *(f"{name}: {value}" for name, value in self.headers)]
        if not named & {"content-length", "transfer-encoding"}:
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1") + self.body


def said(document: Any, status: int = 200) -> Answer:
    """A proper answer."""
    return Answer(status, json.dumps(document).encode(), (("content-type", "application/json"),), document=document)


@st.composite
def answers(draw: Draw, golden: Any, status: int = 200, most: int = 2) -> Answer:
    """An answer with something wrong: its status, its headers, the form of its body, or the document in it."""
    kind = draw(st.sampled_from(["document"] * 8 + ["status", "form", "form", "headers", "headers", "garbage"]))
    if kind == "document":
        wrong = draw(changed(golden, most))
        return _written(wrong.document, status if draw(st.booleans()) else draw(st.sampled_from(STATUSES)), wrong.key)
    key = draw(planted)
    if kind == "garbage":
        return Answer(0, b"", key=key, garbage=draw(st.sampled_from(_garbage(key))))
    quoting = {**golden, "x": key} if isinstance(golden, dict) else golden
    if kind == "status":
        return _written(quoting, draw(st.sampled_from(STATUSES)), key)
    if kind == "headers":
        body = json.dumps(quoting).encode()
        return Answer(draw(st.sampled_from([status, 200, 429, 503, 307])), body, draw(_headers(key)), key)
    return Answer(draw(st.sampled_from([status, status, *STATUSES])), draw(_bodies(quoting, key)), (), key)


def _written(document: Any, status: int, key: str) -> Answer:
    try:
        body = json.dumps(document).encode()
    except ValueError:  # a number of more digits than Python writes
        body = b"{}"
    return Answer(status, body, (("content-type", "application/json"),), key, document)


def _garbage(key: str) -> list[bytes]:
    first = ("HTTP/9.9 200", "HTTP/1.1 999999", "HTTP/1.1 -1", "HTTP/1.1 abc", "HTTP/2 200", "HTTP/1.0 200")
    headers = (":", "no colon", " folded", "a: b\r\n c", "content-length: -1", "content-length: x", "x: \xff")
    ok = b"HTTP/1.1 200 OK\r\n"
    return [
        *(b"", b"\x00", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.1 200", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02"),
        *(f"{each} OK\r\nx: y\r\n\r\n{{}}".encode() for each in first),
        *(f"HTTP/1.1 200 OK\r\n{each}\r\n\r\n{key}".encode("latin-1") for each in headers),
        ok + b"x-long: " + b"x" * 200_000 + b"\r\n\r\n{}",
        ok + b"x: y\r\n" * 2000 + b"\r\n{}",
        ok + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + key.encode(),
        ok + b"transfer-encoding: chunked\r\n\r\n" + key.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + key.encode() + b"\r\n\r\n",
        b"HTTP/1.1 " + key.encode() + b"\r\n\r\n",
        ok + b'transfer-encoding: chunked\r\n\r\n5\r\n{"a":',
        b"HTTP/1.1 100 Continue\r\n\r\n" + ok + b"content-length: 2\r\n\r\n{}",
        key.encode(),
    ]


@st.composite
def _headers(draw: Draw, key: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        draw(
            st.lists(
                st.sampled_from(
                    [
                        ("content-type", "text/html; charset=no-such"),
                        ("content-type", "application/json; charset=utf-16"),
                        ("content-encoding", "gzip"),
                        ("content-encoding", "deflate"),
                        ("content-length", "999999"),  # the connection ends before
                        ("transfer-encoding", "chunked"),  # it is not
                        ("location", f"http://127.0.0.1:9/{key}"),
                        ("x-request-id", key),
                        ("set-cookie", f"session={key}"),
                        ("set-cookie", "session=\xe9\xff; path=/"),
                        ("etag", "\xe9"),
                        *(("retry-after", each) for each in RETRY_AFTER),
                    ]
                ),
                max_size=3,
            )
        )
    )


@st.composite
def _bodies(draw: Draw, document: Any, key: str) -> bytes:
    text = json.dumps(document)
    forms: list[bytes] = [
        *(b"", b" ", b"null", b"[]", b"{}", b'"x"', b"7", b"NaN", b"\xff\xfe", b"\x00", b"true", b'{"": {}}'),
        text[: draw(st.integers(0, len(text)))].encode(),
        (text + text).encode(),
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.encode() + b"\xff",
        gzip.compress(text.encode()),
        f"<html><body>{key}</body></html>".encode(),
        f"{{{text[1:-1]}, {text[1:-1]}}}".encode() if text.startswith("{") else text.encode(),  # each name twice
        json.dumps({"error": document}).encode(),
        gzip.compress(text.encode() + b" " * 3_000_000),
        b"[" * 100_000,
        b'{"x":' * 50_000,
        b'{"x": ' + b"9" * 10_000 + b"}",
        b'"' + key.encode() + b"x" * 300_000 + b'"',
        draw(st.binary(max_size=40)),
    ]
    chosen: bytes = draw(st.sampled_from(forms))
    return chosen
