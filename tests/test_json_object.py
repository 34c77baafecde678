"""The JSON object in an answer: all of it, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.json_object import UnreadableError, inside, json_object, plain_id, texts
from tests.hostile import fuzz


def test_an_object_is_read() -> None:
    assert json_object(b'{"a": [1, {"b": null}]}') == json_object('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[1]", '"x"', "7", "{", '{"a": 1} {"b": 2}', "<html>", '{"a": NaN}', '{"a": -Infinity}'),
        *('{"a": 1, "a": 1}', '{"x": [{"a": 1, "b": 2, "a": 3}]}', '{"x": ' + "9" * 5000 + "}"),
        *("[" * 100_000, '{"x":' * 100_000),
        *(b"\xff", b'{"a": "\xff"}', b"\x00", b'\xff\xfe{"a": 1}'),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_anything_else_is_an_empty_one(text: str | bytes) -> None:
    assert json_object(text) == {}


@pytest.mark.parametrize(
    "value", [None, 7, "", "x" * 129, "a\nb", "\x1b[31m", "\ud800", "sk-" + "a1B2c3" * 6, ["x"]], ids=repr
)
def test_an_id_is_a_short_text_that_may_be_shown(value: object) -> None:
    assert plain_id("x" * 128) == "x" * 128
    with pytest.raises(UnreadableError) as refused:
        plain_id(value)
    assert not refused.value.args


def test_what_stands_inside_is_found_or_none() -> None:
    document = {"a": {"b": {"c": 7}}, "x": "y"}
    assert inside(document, "a", "b", "c") == 7
    assert inside(document, "a", "c", "b") is inside(document, "x", "y") is inside([], "a") is None
    assert texts({"a": "b"}) == {"a": "b"}
    unreadable: tuple[Any, ...] = (None, [], {"a": 1}, {"a": None}, "ab")
    for wrong in unreadable:
        with pytest.raises(UnreadableError):
            texts(wrong)


@fuzz(40)
@given(st.binary(max_size=40) | st.text(max_size=40))
def test_no_text_makes_it_fail(text: str | bytes) -> None:
    assert isinstance(json_object(text), dict)
