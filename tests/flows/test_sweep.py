"""The sweep as a whole: every credential at once, in places that are shared by those alone who share every part."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from keyturn.errors import DeniedError
from keyturn.model import LoginLife
from tests.flows.conftest import Source, write_many

TURNS = 500  # of the event loop: many times what those that do not hang take


class Sweep:
    """flows.sweep without Prefect and without parts. `at_work`: who is looked at right now; `done`: in which order."""

    def __init__(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = source.load("flows.sweep")
        self.swept: ModuleType = source.load("flows.swept")
        self.at_work: set[str] = set()
        self.most: dict[str, int] = {}
        self.done: list[str] = []
        self.pages: list[str] = []
        self.overtaken = False
        self.looked_for_the_dead = 0
        self.life: LoginLife | Exception | None = None
        self.release = asyncio.Event()
        words = logging.getLogger("tests.sweep")
        stubs: dict[str, Any] = {
            "get_run_logger": lambda: words,
            "overtaken": self._overtaken,
            "sweep_one": self._one,
            "keep_page": self._keep,
            "end_left_behind": self._look_for_the_dead,
            "Adapters": lambda config: SimpleNamespace(aclose=self._close, provider=lambda name: self),
        }
        for name, stub in stubs.items():
            monkeypatch.setattr(self.module, name, stub)

    async def run(self) -> list[Any]:
        rows: list[Any] = await self.module.sweep.fn()
        return rows

    async def _overtaken(self, flow: str) -> bool:
        return self.overtaken

    async def _keep(self, key: str, page: str, description: str) -> None:
        self.pages.append(page)

    async def _look_for_the_dead(self) -> None:
        self.looked_for_the_dead += 1

    async def _close(self) -> None:
        """Nothing is open."""

    async def login_life(self) -> LoginLife | None:
        """Of every provider."""
        if isinstance(self.life, Exception):
            raise self.life
        return self.life

    async def _one(self, config: Any, adapters: Any, name: str) -> Any:
        provider = config.credentials[name].provider
        self.at_work.add(name)
        together = sum(config.credentials[each].provider == provider for each in self.at_work)
        self.most[provider] = max(self.most.get(provider, 0), together)
        if provider == "hangs":
            await self.release.wait()
        else:
            await asyncio.sleep(0)
        self.at_work.remove(name)
        self.done.append(name)
        return self.swept.Swept(name, self.swept.State.QUIET, "not due")


@pytest.fixture
def sweep(source: Source, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    names = [(f"slow-{number}", "hangs") for number in range(5)] + [(f"fast-{number}", "quick") for number in range(20)]
    write_many(source, "sweep: {at_once: 2}", names)
    return Sweep(source, monkeypatch)


@pytest.mark.story("ai-gateway: one blocked provider delays all")
async def test_a_provider_that_hangs_holds_up_nobody_who_does_not_use_it(sweep: Sweep) -> None:
    running = asyncio.create_task(sweep.run())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert not running.done() and [name.startswith("fast") for name in sweep.done] == [True] * 20
    sweep.release.set()
    assert len(await running) == 25
    assert sweep.most == {"hangs": 2, "quick": 2}, "and no part is asked by all at once"


async def test_a_sweep_that_a_later_one_overtakes_leaves_it_to_that(sweep: Sweep) -> None:
    sweep.overtaken = True
    assert await sweep.run() == [] and sweep.done == [] and sweep.pages == []


async def test_each_sweep_goes_in_an_order_of_its_own_and_tells_in_that_of_the_file(sweep: Sweep) -> None:
    """So that those of several workers at once do not meet at each credential."""
    sweep.release.set()
    rows = [[row.credential for row in await sweep.run()] for _ in range(2)]
    first, second = sweep.done[:25], sweep.done[25:]
    assert first != second and sorted(first) == sorted(second)
    assert rows == [[f"slow-{n}" for n in range(5)] + [f"fast-{n}" for n in range(20)]] * 2
    assert sweep.looked_for_the_dead == 2


async def test_the_page_has_a_row_for_everybody_and_what_is_not_well_first(sweep: Sweep) -> None:
    sweep.release.set()
    await sweep.run()
    assert sweep.pages[0].count("| not due |") == 25
    states, swept = sweep.swept.State, sweep.swept.Swept
    rows = [swept("a", states.QUIET, "x"), swept("b", states.DONE, "y"), swept("c", states.PARKED, "z | z")]
    page = sweep.swept.page(rows).splitlines()
    assert [line.split(" ")[1] for line in page[4:]] == ["c", "b", "a"]
    assert "z \\| z" in page[4]


@pytest.mark.parametrize(("days", "is_well", "state"), [(3, True, "ends soon"), (-1, False, "too old")])
async def test_a_sweep_tells_of_each_login_that_ends_once(sweep: Sweep, days: int, is_well: bool, state: str) -> None:
    sweep.release.set()
    sweep.life = LoginLife(None, datetime.now(UTC) + timedelta(days=days))
    told = [row for row in await sweep.run() if row.credential.startswith("login of ")]
    assert [(row.credential, row.is_well, row.state) for row in told] == [
        (f"login of {provider}", is_well, state) for provider in ("quick", "hangs")
    ]
    assert "| login of quick |" in sweep.pages[0].splitlines()[4], "before all that is well and quiet"


@pytest.mark.parametrize("life", [None, DeniedError("it may not"), RuntimeError("a fault")])
async def test_what_cannot_be_told_of_a_login_holds_up_nobody(sweep: Sweep, life: Exception | None) -> None:
    sweep.release.set()
    sweep.life = life
    rows = await sweep.run()
    assert len([row for row in rows if row.sentence == "not due"]) == 25
    assert [row.state for row in rows[25:]] == (["failed"] if isinstance(life, RuntimeError) else [])
