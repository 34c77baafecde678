"""isinstance of a port tells what Python's own does, for every kind of adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import pytest

from keyturn.adapter_kinds import Kind


class _Base(Protocol):
    async def close(self) -> None: ...


@runtime_checkable
class Checked(_Base, Protocol, metaclass=Kind):
    @property
    def life(self) -> timedelta: ...

    async def turn(self) -> None: ...


@runtime_checkable
class Plain(_Base, Protocol):
    @property
    def life(self) -> timedelta: ...

    async def turn(self) -> None: ...


class Whole:
    life = timedelta(1)

    async def turn(self) -> None: ...

    async def close(self) -> None: ...


class WithoutBase:
    life = timedelta(1)

    async def turn(self) -> None: ...


class Slotted:
    __slots__ = ("life",)

    async def turn(self) -> None: ...

    async def close(self) -> None: ...


class ForItself:
    """Of which each instance has a part of its own."""

    async def turn(self) -> None: ...

    async def close(self) -> None: ...

    def __init__(self, *, life: bool) -> None:
        if life:
            self.life = timedelta(1)


class HandsOn:
    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


class SaysNo(Whole):
    turn: Callable[[], Awaitable[None]] | None = None  # type: ignore[assignment]  # how a class says that it has none


class Inherits(Checked):
    async def turn(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def life(self) -> timedelta:
        return timedelta(1)


ADAPTERS = {
    "whole": Whole(),
    "without the base's part": WithoutBase(),
    "of its own": ForItself(life=True),
    "not of its own": ForItself(life=False),
    "hands on to a whole one": HandsOn(Whole()),
    "hands on to one that is not": HandsOn(WithoutBase()),
    "names": SimpleNamespace(life=1, turn=print, close=print),
    "fewer names": SimpleNamespace(life=1, turn=print),
    "says no": SaysNo(),
    "nothing": None,
    "a class": Whole,
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_told_as_python_tells_it(name: str) -> None:
    adapter = ADAPTERS[name]
    assert isinstance(adapter, Checked) == isinstance(adapter, Plain)
    assert isinstance(adapter, Checked) == isinstance(adapter, Plain), "and at the second question"


def test_a_slot_counts_as_a_part_also_while_it_is_empty() -> None:
    """Here Python looks at the value, and says no."""
    assert isinstance(Slotted(), Checked) and not isinstance(Slotted(), Plain)


def test_both_answers_come_up() -> None:
    assert {isinstance(adapter, Checked) for adapter in ADAPTERS.values()} == {True, False}


def test_a_class_that_says_what_it_offers_is_no_protocol() -> None:
    assert isinstance(Inherits(), Checked) and isinstance(Inherits(), Inherits)
    assert not isinstance(Whole(), Inherits)


def test_two_of_one_kind_are_told_apart() -> None:
    assert [isinstance(ForItself(life=life), Checked) for life in (True, False, True)] == [True, False, True]
