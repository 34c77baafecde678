"""A fleet is cut into waves: every member once, in order, and no wave is empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from keyturn.waves import Size, in_waves
from tests.hostile import fuzz

EIGHT = tuple("abcdefgh")


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ((), ["abcdefgh"]),
        ((1,), ["a", "bcdefgh"]),
        ((1, "25%", "100%"), ["a", "b", "cdefgh"]),
        (("1%",), ["a", "bcdefgh"]),
        ((3, 2, "50%"), ["abc", "d", "efgh"]),
        ((20,), ["abcdefgh"]),
    ],
)
def test_waves(sizes: tuple[int | str, ...], cut: list[str]) -> None:
    assert ["".join(wave) for wave in in_waves(EIGHT, sizes)] == cut


SIZES = st.integers(1, 60) | st.integers(1, 100).map(lambda part: f"{part}%")


@fuzz(100)
@given(st.integers(0, 50), st.lists(SIZES, max_size=6))
def test_nobody_is_left_out_or_moved_twice(count: int, sizes: list[int | str]) -> None:
    members = list(range(count))
    waves = list(in_waves(members, sizes))
    assert [each for wave in waves for each in wave] == members
    assert all(waves), "no wave is empty"


@pytest.mark.parametrize("size", [0, -1, True, "0%", "101%", "25", "1.5%", 2.5, "", "25 %", None])
def test_what_is_no_size(size: object) -> None:
    with pytest.raises(ValidationError, match="must be a number of members"):
        TypeAdapter(Size).validate_python(size)
