"""Many credentials in one run: which, in which order, and what is told of each."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from keyturn.errors import MisconfiguredError, NotFoundError, RolledBackError, UnavailableError
from tests.flows.conftest import Source, write_many

QUICK, SLOW = [f"fast-{number}" for number in range(4)], [f"slow-{number}" for number in range(4)]
TURNS = 200  # of the event loop: many times what those that do not hang take


class Many:
    """flows.rotate_many without Prefect, over rotations that a test gives. `fails`: what is raised, by credential."""

    def __init__(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = source.load("flows.rotate_many")
        self.outcome = source.load("flows.outcome")
        self.began: list[str] = []
        self.at_work: list[str] = []
        self.most = 0
        self.fails: dict[str, Exception] = {}
        self.release = asyncio.Event()
        self.release.set()
        self.tables: list[list[dict[str, str]]] = []
        self.due: set[str] = set()
        words = logging.getLogger("tests.rotate_many")
        stubs: dict[str, Any] = {
            "get_run_logger": lambda: words,
            "one": self.module._rotate,
            "rotate_one": self._rotate,
            "acreate_table_artifact": self._keep,
            "due_now": self._due,
            "ends_together": lambda: nullcontext([]),
            "Adapters": lambda config: SimpleNamespace(config=config, aclose=self._close),
        }
        for name, stub in stubs.items():
            monkeypatch.setattr(self.module, name, stub)

    async def run(self, **given: Any) -> list[Any]:
        rows: list[Any] = await self.module.rotate_many.fn(**given)
        return rows

    async def _rotate(self, credential: str, settings: Any, reason: Any, *_: Any) -> Any:
        self.began.append(credential)
        self.at_work.append(credential)
        self.reason = reason
        self.most = max(self.most, len([each for each in self.at_work if each in QUICK]))
        await asyncio.sleep(0)
        if settings.provider == "hangs":
            await self.release.wait()
        self.at_work.remove(credential)
        if credential in self.fails:
            raise self.fails[credential]
        return self.outcome.Outcome(credential, self.outcome.Result.ROTATED, "every member serves it")

    async def _due(self, config: Any, adapters: Any, names: list[str]) -> list[str]:
        return [name for name in names if name in self.due]

    async def _keep(self, key: str, table: list[dict[str, str]], description: str) -> None:
        self.tables.append(table)

    async def _close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def many(source: Source, monkeypatch: pytest.MonkeyPatch) -> Many:
    names = [(name, "hangs") for name in SLOW] + [(name, "quick") for name in QUICK]
    write_many(source, "rotate_many: {at_once: 2}", names)
    return Many(source, monkeypatch)


async def test_one_that_fails_stops_no_other_and_is_told_by_name(many: Many) -> None:
    many.fails = {"fast-1": UnavailableError("the vault is sealed", remedy="unseal it"), "slow-2": RuntimeError("text")}
    with pytest.raises(many.module.NotAllTurnedError) as caught:
        await many.run(every=True)
    assert sorted(many.began) == sorted([*QUICK, *SLOW])
    rows = {row.credential: row for row in caught.value.rows}
    assert [name for name, row in rows.items() if row.failed] == ["slow-2", "fast-1"]
    assert (rows["fast-1"].sentence, rows["fast-1"].next) == ("the vault is sealed", "unseal it")
    assert "2 of 8" in caught.value.message and "fast-1: the vault is sealed" in caught.value.message
    assert "text" not in f"{caught.value} {rows['slow-2']}", "a fault of ours is told by its type and place"
    (table,) = many.tables
    assert [row["credential"] for row in table[:2]] == ["slow-2", "fast-1"], "what is not well first"
    assert table[2]["outcome"] == "rotated"


async def test_a_provider_that_hangs_holds_up_nobody_who_does_not_use_it(many: Many) -> None:
    many.release.clear()
    running = asyncio.create_task(many.run(every=True))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert not running.done() and set(QUICK) <= set(many.began) and many.at_work == SLOW[:2]
    many.release.set()
    assert len(await running) == 8
    assert many.most == 2, "so many at a time, as keyturn.yaml says"


async def test_those_that_are_named_and_those_of_a_provider_each_once(many: Many) -> None:
    rows = await many.run(credentials=["slow-0", "fast-1"], provider="quick")
    assert [row.credential for row in rows] == ["slow-0", "fast-1", "fast-0", "fast-2", "fast-3"]
    assert sorted(many.began) == sorted(row.credential for row in rows)


async def test_an_empty_form_rotates_nobody(many: Many) -> None:
    with pytest.raises(NotFoundError):
        await many.run()
    with pytest.raises(MisconfiguredError):
        await many.run(credentials=["not-there"])
    assert many.began == []


async def test_what_is_due_is_begun_as_a_schedule_would(many: Many) -> None:
    many.due = {"fast-2", "slow-1"}
    assert [row.credential for row in await many.run(due=True)] == ["slow-1", "fast-2"]
    assert many.reason == "scheduled"
    assert [row.credential for row in await many.run(due=True, provider="quick")] == ["fast-2"]


async def test_the_outcome_is_the_name_of_the_state_and_the_sentence_its_message(many: Many) -> None:
    config = many.module.load()
    together = many.module.Together(SimpleNamespace(config=config), "manual", None, False)
    state = await many.module._rotate("fast-0", together)
    assert (state.name, state.message, state.is_completed()) == ("rotated", "every member serves it", True)


def test_what_keyturn_logs_in_with_is_turned_last(source: Source) -> None:
    choice = source.load("flows.choice")
    config = SimpleNamespace(credential=lambda name: name, serves_keyturn=lambda name: name.startswith("own"))
    assert choice.in_order(config, ["own-a", "b", "own-c", "d"]) == (["b", "d"], ["own-a", "own-c"])


def test_what_comes_next_is_told(source: Source) -> None:
    turned, outcome = source.load("flows.turned"), source.load("flows.outcome")
    pending = outcome.Outcome("a", outcome.Result.PENDING, "x")
    assert turned.of_outcome(pending).next == "a sweep comes back to the old key"
    assert turned.of_failure("a", RolledBackError("back")).result == "rolled back"
    assert turned.of_failure("a", UnavailableError("down")).next == "`keyturn rotate a` goes on there"
    error = turned.NotAllTurnedError([turned.of_failure(f"c-{n}", UnavailableError("down")) for n in range(30)])
    assert "30 of 30" in error.message and "and 20 more" in error.message and "c-10" not in error.message


async def test_one_sweep_is_asked_for_after_the_last_of_their_ends(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    asked: list[datetime] = []

    async def sweep(last: datetime) -> str:
        asked.append(last)
        return "by a sweep"

    monkeypatch.setattr(many.module, "sweep_at_the_end", sweep)
    await many.run(credentials=QUICK)
    assert asked == [], "nothing ends later"
    ends = [noon, noon + timedelta(hours=2), noon + timedelta(hours=1)]
    monkeypatch.setattr(many.module, "ends_together", lambda: nullcontext(ends))
    await many.run(credentials=QUICK)
    assert asked == [noon + timedelta(hours=2)]
