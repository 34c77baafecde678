"""One field changes, and not a byte beside it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.stores.json_bundle import NotABundleError, field_text, is_bundle, with_field, with_new_field

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
DOCUMENT = '{ "a":1.0, "n" : 1e400,\r\n\t"key":"old\\u0041" ,"b":{"key":"not this", "x":[{"key":2}]},"é":"\\u00e9" }\n'


@given(st.dictionaries(st.text(), VALUES), st.text(), st.text(), st.text(), st.sampled_from([None, 2]), st.booleans())
def test_only_the_field_changes(
    others: dict[str, object], field: str, old: str, new: str, indent: int | None, ascii_only: bool
) -> None:
    fields = {**others, field: old}
    document = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    assert field_text(document, field) == old
    changed = with_field(document, field, new)
    assert list(json.loads(changed).items()) == list({**fields, field: new}.items())
    assert with_field(changed, field, old) == with_field(document, field, old)


def test_bytes_beside_the_field_stay() -> None:
    assert with_field(DOCUMENT, "key", 'n"w') == DOCUMENT.replace('"old\\u0041"', '"n\\"w"')


def test_of_a_repeated_field_the_one_that_counts_is_changed() -> None:
    document = '{"key": "first", "key": "second"}'
    assert field_text(document, "key") == "second"
    assert field_text(with_field(document, "key", "third"), "key") == "third"


@pytest.mark.parametrize("document", ["", "plain", "[1]", '"text"', "{", '{"key": "x"} more', "null"])
def test_what_is_no_object_is_refused_and_not_quoted(document: str) -> None:
    assert not is_bundle(document)
    with pytest.raises(NotABundleError) as caught:
        field_text(document, "key")
    assert str(caught.value) == "the secret is not a JSON object"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", ["1", "true", '["x"]', '{"x": "y"}'])
def test_a_field_that_is_no_string_is_refused(value: str) -> None:
    with pytest.raises(NotABundleError):
        field_text(f'{{"key": {value}}}', "key")


def test_a_missing_field_is_none_and_cannot_be_changed() -> None:
    assert field_text("{}", "key") is None
    with pytest.raises(NotABundleError):
        with_field('{"other": "x"}', "key", "new")


@given(st.dictionaries(st.text(), VALUES), st.text(), st.text(), st.sampled_from([None, 2]), st.booleans())
def test_a_new_field_is_the_last_and_nothing_before_it_changes(
    others: dict[str, object], field: str, value: str, indent: int | None, ascii_only: bool
) -> None:
    others.pop(field, None)
    document = json.dumps(others, indent=indent, ensure_ascii=ascii_only) + "\n"
    longer = with_new_field(document, field, value)
    assert list(json.loads(longer).items()) == list({**others, field: value}.items())
    assert longer.startswith(document.rstrip("}\r\n \t") if others else "{")


def test_a_new_field_stands_as_its_neighbours_do() -> None:
    assert with_new_field('{\n\t"a" : 1.0\n}\n', "b", "x") == '{\n\t"a" : 1.0,\n\t"b": "x"\n}\n'
    assert with_new_field('{"a": {"b": 1}}', "b", 'q"') == '{"a": {"b": 1},"b": "q\\""}'
    assert with_new_field(" { }", "b", "x") == ' {"b": "x" }'


def test_a_field_that_is_there_is_not_new() -> None:
    for document in ('{"key": "x"}', '{"key": null}', '{"key": 1}', "plain"):
        with pytest.raises(NotABundleError):
            with_new_field(document, "key", "y")
