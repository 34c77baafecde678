"""The inventory flow: a dead key is told, what only cannot be told is not, and no credential costs another its row."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keyturn.assembly import Assembly
from keyturn.errors import MisconfiguredError, ThrottledError
from keyturn.testing.world import World
from tests.flows.conftest import NAMES, Source


class Inventory:
    """flows.inventory without Prefect, each credential with a world of its own. `told`: events."""

    def __init__(self, source: Source, monkeypatch: pytest.MonkeyPatch, worlds: dict[str, World]) -> None:
        self.module = source.load("flows.inventory")
        self.worlds = worlds
        self.told: list[tuple[str, str, dict[str, str]]] = []
        self.pages: dict[str, Any] = {}
        self.taken = False
        self.broken: set[str] = set()
        stubs: dict[str, Any] = {
            "assemble": self._assemble,
            "tell": lambda event, credential, **facts: self.told.append((event, credential, facts)),
            "keep_page": self._keep_page,
            "acreate_table_artifact": self._keep_table,
            "get_run_logger": lambda: logging.getLogger("tests.inventory"),
            "is_taken": self._is_taken,
            "overtaken": self._not_overtaken,
        }
        for name, stub in stubs.items():
            monkeypatch.setattr(self.module, name, stub)

    async def run(self) -> dict[str, Any]:
        return {row.credential: row for row in await self.module.inventory.fn()}

    @asynccontextmanager
    async def _assemble(self, config: Any, name: str, **_: Any) -> AsyncIterator[Assembly]:
        if name in self.broken:
            raise MisconfiguredError("it is broken")
        worker = self.worlds[name].worker()
        worker.name = name
        yield worker

    async def _keep_page(self, key: str, page: str, description: str) -> None:
        self.pages[key] = page

    async def _keep_table(self, key: str, table: Any, description: str) -> None:
        self.pages[key] = table

    async def _is_taken(self, name: str) -> bool:
        return self.taken

    async def _not_overtaken(self, flow: str) -> bool:
        return False


@pytest.fixture
async def inventory(source: Source, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    return Inventory(source, monkeypatch, {name: await World.make() for name in NAMES})


async def test_every_key_has_a_row_and_all_is_well(inventory: Inventory) -> None:
    rows = await inventory.run()
    assert [rows[name].life for name in NAMES] == ["alive"] * 3
    assert inventory.told == []
    assert [row["credential"] for row in inventory.pages["inventory"]] == NAMES
    assert inventory.pages["inventory"][0]["members"] == "2 of 2"
    assert "# Ages" in inventory.pages["key-ages"]


async def test_a_dead_key_is_told_and_a_throttled_one_is_not(inventory: Inventory) -> None:
    dead, throttled, broken = NAMES
    world = inventory.worlds[dead]
    del world.provider.keys[world.first_key.ref.id]
    inventory.worlds[throttled].provider.fail["check"] = ThrottledError("the provider's limit is reached")
    inventory.broken.add(broken)
    rows = await inventory.run()
    assert [rows[name].life for name in NAMES] == ["dead", "not known", "not known"]
    assert [(event, name) for event, name, _ in inventory.told] == [("dead", dead)]
    assert inventory.told[0][2]["value"] == world.first_key.material.fingerprint()
    text = world.first_key.material.reveal()
    assert text not in str(inventory.told) + str(inventory.pages)


async def test_a_key_that_a_run_is_replacing_calls_nobody(inventory: Inventory) -> None:
    world = inventory.worlds[NAMES[0]]
    del world.provider.keys[world.first_key.ref.id]
    inventory.taken = True
    assert (await inventory.run())[NAMES[0]].life == "busy"
    assert inventory.told == []
