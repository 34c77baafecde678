"""YAML as a tree with places: what it can read, and where it stops."""

from __future__ import annotations

import pytest

from keyturn.lint.tree import Map, Scalar, read, walk
from tests.lint.conftest import Folder


def root(text: str) -> Map:
    (found,) = read(text).roots
    assert isinstance(found.node, Map)
    return found.node


def test_each_value_knows_where_it_stands() -> None:
    node = root("a:\n  - b: c\n    d: {e: f}\n").at("a")
    found = {each.place: (each.line, each.column) for _, _, each in walk(node) if isinstance(each, Scalar)}
    assert found == {"a[0].b": (2, 8), "a[0].d.e": (3, 12)}


def test_a_merge_gives_way_to_what_is_there() -> None:
    node = root("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 0}\n").map("z")
    assert {name: node.text(name) for name in "abc"} == {"a": "0", "b": "2", "c": "4"}


def test_several_documents_and_what_comes_before_a_fault() -> None:
    tree = read("a: 1\n---\nb: 2\n---\nc: }\n")
    assert ([each.line for each in tree.roots], tree.line, tree.limit) == ([1, 2], 5, False)


def test_a_null_is_no_text() -> None:
    node = root("a:\nb: ~\nc: null\nd: 'null'\n")
    assert [node.text(name) for name in "abcd"] == ["", "", "", "null"]


def test_tags_of_compose_are_known() -> None:
    node = root("a: !reset null\nb: !override {c: 1}\n")
    assert (node.text("a"), node.text("b", "c")) == ("", "1")


LOOP = "a: &a {b: *a}\n"
BOMB = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(10))}}}\n" for n in range(1, 30)
)
MERGES = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(2000)) + "}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(200))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[" * 100_000, "KT002"),
        ("a: " + "{b: " * 100_000, "KT002"),
        ("- " * 100_000, "KT002"),
        ("a: [" + "1, " * 300_000 + "]\n", "KT002"),
        (MERGES, "KT002"),
        ("x" * 1_200_000, "KT002"),
        (LOOP, "KT001"),
        ("a: \x00\n", "KT001"),
        (b"\xff\xfe\x00", "KT001"),
        (b"a: \xff\n", "KT001"),
        ("a: {{ b }}\n", "KT002"),
    ],
)
@pytest.mark.timeout(120)
def test_what_has_no_end_is_told_and_ends(text: str | bytes, rule: str, folder: Folder) -> None:
    assert rule in {found for found, _ in folder.rules(text)}


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "".join(f"a{n}: {n}\n" for n in range(60_000)),
        "sk-" * 300_000,
        "eyJ" * 300_000,
        "api_key" * 140_000,
        "api_key:" * 120_000,
        "://:" * 250_000,
        "${" * 500_000,
        "a: " + "os.environ" * 90_000,
        "s." * 500_000,
        "# keyturn: ignore" * 60_000,
        "A=1\n" * 250_000,
        "a: '" + "litellm " * 100_000 + "'\n",
        "services: {x: {image: " + "a/" * 300_000 + ", command: '" + "litellm " * 40_000 + "'}}\n",
    ],
    ids=range(14),
)
@pytest.mark.timeout(120)
def test_what_repeats_itself_does_not_take_for_ever(text: str, folder: Folder) -> None:
    folder.said(text)
    folder.said(text, "x.env")
