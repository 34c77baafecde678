"""A credential's timeline in the log of its run: a line each, or those of a moment together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import flows.logged
from flows.logged import logged
from keyturn.assembly import Line

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    entries: list[str] = []
    logger = SimpleNamespace(info=lambda text, *given: entries.append(text % given))
    monkeypatch.setattr(flows.logged, "get_run_logger", lambda: logger)
    return entries


def line(sentence: str) -> Line:
    return Line(AT, "create", sentence)


async def test_each_line_is_an_entry(entries: list[str]) -> None:
    with logged(several_at_a_time=False) as log:
        log(line("100% one"))
        assert entries == ["create: 100% one"]


async def test_the_lines_of_a_moment_are_one_entry_with_their_times(entries: list[str]) -> None:
    with logged(several_at_a_time=True) as log:
        log(line("100% one"))
        log(line("two"))
        assert entries == []
    assert entries == ["03:04:05 create: 100% one\n03:04:05 create: two"]


async def test_no_line_is_kept_for_longer_than_a_moment(entries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.logged, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(flows.logged, "A_SECOND", 1e9)
    with logged(several_at_a_time=True) as log:
        log(line("one"))
        await asyncio.sleep(0.01)
        assert entries == ["03:04:05 create: one"]
        log(line("two"))
    assert entries[1:] == ["03:04:05 create: two"]


async def test_of_many_at_once_the_lines_are_kept_for_longer(entries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.logged, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(flows.logged, "A_SECOND", 0.01)
    with logged(several_at_a_time=True) as log, logged(several_at_a_time=True) as other:
        log(line("one"))
        await asyncio.sleep(0.01)
        assert entries == []
        other(line("of another"))
    assert entries == ["03:04:05 create: of another", "03:04:05 create: one"]
    with logged(several_at_a_time=True):
        assert flows.logged._Entry.open == 1, "who has ended does not count"


async def test_a_run_that_fails_has_logged_what_it_did(entries: list[str]) -> None:
    with pytest.raises(RuntimeError), logged(several_at_a_time=True) as log:
        log(line("one"))
        raise RuntimeError
    assert len(entries) == 1
