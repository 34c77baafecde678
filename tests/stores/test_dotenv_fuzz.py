"""Files of variables as anybody may have written them: nothing of others is ever lost, and nothing crashes."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.stores.dotenv_lines import AmbiguousError
from keyturn.stores.dotenv_text import value_of, with_value

_PIECES = [
    "A",
    "B",
    "AA",
    "=",
    "'",
    '"',
    "\\",
    "\n",
    "\r\n",
    " ",
    "\t",
    "#",
    "export ",
    "$",
    "x",
    "y z",
    "\ufeff",
    "\udcff",
    "é",
]
TEXTS = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join) | st.text(max_size=60)
VALUES = st.from_regex(r"[A-Za-z0-9_./:=+@%,-]{1,20}", fullmatch=True)


def tried(text: str, name: str) -> str | AmbiguousError | None:
    try:
        return value_of(text, name)
    except AmbiguousError as error:
        return error


@given(text=TEXTS, value=VALUES)
def test_one_value_changes_and_all_else_stays(text: str, value: str) -> None:
    try:
        after = with_value(text, "A", value)
    except AmbiguousError:
        assert isinstance(tried(text, "A"), AmbiguousError)
        return
    before = value_of(text, "A")
    assert value_of(after, "A") == value
    if before is None:
        assert after.startswith(text)
        assert re.fullmatch(r"(\r?\n)?A=.*\r?\n", after[len(text) :])
    else:
        start = len(text) - len(after)  # of two texts with one difference: what is before it, and what is behind it
        assert abs(start) <= len(before) + len(value) + 2
        common = next((n for n, (a, b) in enumerate(zip(text, after, strict=False)) if a != b), min(len(text), len(after)))
        behind = len(text) - common - len(before) - 2
        assert behind <= 0 or after.endswith(text[len(text) - behind :])


@given(text=TEXTS, value=VALUES)
@example(text="", value="B=")
@example(text="export A=", value="B")
@example(text="A=''", value="B=")
def test_other_variables_read_as_before(text: str, value: str) -> None:
    """Or are refused, where a value in quotes looks like their line."""
    try:
        after = with_value(text, "A", value)
    except AmbiguousError:
        return
    for name in ("B", "AA", "x"):
        found = tried(after, name)
        if isinstance(found, AmbiguousError) and re.search(rf"""^[ \t]*(export\s+)?A=['"].*{name}""", after, re.MULTILINE):
            continue
        assert str(found) == str(tried(text, name))


@given(text=TEXTS, value=VALUES)
def test_what_was_written_is_changed_again_and_back(text: str, value: str) -> None:
    try:
        after = with_value(text, "A", value)
    except AmbiguousError:
        return
    assert with_value(with_value(after, "A", "another"), "A", value) == after
