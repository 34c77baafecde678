"""What scanners and callers send is not trusted: each reader gives what it promises, or says that it cannot read it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.incidents import call, generic, gitguardian, github, trufflehog
from keyturn.incidents.leak import Leak
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from tests.hostile import fuzz

WORDS = (
    "action",
    "alert",
    "number",
    "secret_type",
    "repository",
    "full_name",
    "incident",
    "id",
    "detector",
    "name",
    "hmsl_hash",
)
MORE = (
    "Raw",
    "RawV2",
    "DetectorName",
    "secret",
    "credential",
    "credentials",
    "provider",
    "key",
    "sha256",
    "policy",
    "created",
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.sampled_from(WORDS + MORE)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS + MORE) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode("utf-16")),
    st.lists(VALUES, max_size=4).map(lambda values: b"\n".join(json.dumps(each).encode() for each in values)),
    st.integers(1, 100_000).map(lambda deep: b"[" * deep),
    st.integers(1, 5000).map(lambda digits: b'{"action": ' + b"9" * digits + b"}"),
)


def as_leaks(found: Any) -> Sequence[Leak]:
    if found is None:
        return []
    if isinstance(found, Leak):
        return [found]
    return [each for each in found if isinstance(each, Leak)] if isinstance(found, tuple | list) else []


READERS: dict[str, Callable[[bytes], Any]] = {
    "github": github.read,
    "gitguardian": gitguardian.read,
    "trufflehog": trufflehog.read,
    "generic": lambda body: generic.read(body, "", "secret"),
    "generic deep": lambda body: generic.read(body, "incident.detector", "alert.name"),
    "call": call.read,
}


@pytest.mark.parametrize("name", READERS)
@fuzz(40)
@given(body=BODIES)
def test_whatever_is_sent_is_read_or_said_to_be_unreadable(name: str, body: bytes) -> None:
    try:
        found = READERS[name](body)
    except UnreadableError as error:
        assert error.args == ()
        assert error.__cause__ is None
        return
    for leak in as_leaks(found):
        assert leak.material is None or isinstance(leak.material, KeyMaterial)
        assert len(leak.type) <= 200 and len(leak.alert) <= 300


@fuzz(40)
@given(body=BODIES)
def test_githubs_api_is_asked_at_no_other_path(body: bytes) -> None:
    try:
        found = github.read(body)
    except UnreadableError:
        return
    if found is not None:
        assert re.fullmatch(r"/repos/[\w.-]+/[\w.-]+/secret-scanning/alerts/[0-9]+", found[1].path, re.ASCII)


@pytest.mark.parametrize(
    "repository",
    ["../x", "o/..", "o/.", "./r", "o", "o/r/../..", "o/r?x", "o/r#x", "o/r\n", "o//r", "/r", "o/", "o/r/x", "ö/r", ""],
)
def test_a_repository_that_would_be_another_path_is_unreadable(repository: str) -> None:
    event = {"action": "created", "alert": {"number": 1, "secret_type": "x"}, "repository": {"full_name": repository}}
    with pytest.raises(UnreadableError):
        github.read(json.dumps(event).encode())


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "1", None, 10**20])
def test_an_alert_without_a_number_is_unreadable(number: Any) -> None:
    event = {"action": "created", "alert": {"number": number, "secret_type": "x"}, "repository": {"full_name": "o/r"}}
    with pytest.raises(UnreadableError):
        github.read(json.dumps(event).encode())


def test_more_findings_than_a_report_may_have_are_unreadable() -> None:
    many = [{"Raw": secrets.token_hex(10), "secret": "x"} for _ in range(201)]
    for read in (trufflehog.read, READERS["generic"]):
        with pytest.raises(UnreadableError):
            read(json.dumps(many).encode())
        assert len(read(json.dumps(many[:200]).encode())) == 200


def test_a_key_is_read_without_the_white_space_around_it() -> None:
    text = secrets.token_hex(20)
    (leak,) = generic.read(json.dumps([{"secret": f"  {text}\r\n"}]).encode(), "", "secret")
    assert leak.material == KeyMaterial(text)
    (leak,) = generic.read(json.dumps({"data": {"found": {"a": {"b": text}}}}).encode(), "data.found", "a.b")
    assert leak.material == KeyMaterial(text)
