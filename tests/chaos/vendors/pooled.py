"""Keys that people make ahead and keep in a pool: Anthropic, whose API turns them off, and a vendor with a console alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from keyturn.material import KeyMaterial
from keyturn.model import Mark
from keyturn.ports import Pooled
from keyturn.steps.pool import pool_of
from keyturn.steps.pool_fill import fill
from keyturn.testing.vendors.anthropic import AnthropicSimulator
from keyturn.testing.vendors.console_pool import ConsoleSimulator
from tests.chaos import person
from tests.chaos.inside import assembled
from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.vendors.rules import Pool, pooled
from tests.chaos.vendors.simulated import ENDING, SimulatedAccount

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World

_FREE = 3  # at the beginning of a case
_ANOTHER = Mark.of("another", "another installation").label("0" * 32)


class PooledAccount(SimulatedAccount):
    """Its pool is a bundle beside the deciding secret's, in the same store. One key of it another installation has taken."""

    ages: ClassVar[bool] = False  # since when a key is taken, its place says
    first_differs: ClassVar[bool] = True  # it was in no place

    def __init__(self, outside: Outside, world: str) -> None:
        super().__init__(outside, world)
        self._person = person.Person(self)
        self._others: dict[str, str] = {}

    @property
    def parts(self) -> Mapping[str, int]:
        return {person.PERSON: self._person.port}

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, person.VARIABLE: person.address(self._person.port)}

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        return {"pool": {"store": world.pool.store, "path": world.pool.path, "size": 8}, "low_water": 0}

    def new_text(self) -> str:
        """One that a person who sees its end can tell from all others."""
        endings = {key.hint[-ENDING:] for key in self._all()}
        return next(text for _ in range(1000) if (text := super(PooledAccount, self).new_text())[-ENDING:] not in endings)

    async def start(self, world: World) -> None:
        await super().start(world)
        await self._person.start()

    def stop(self) -> None:
        self._person.stop()
        super().stop()

    async def prepare(self, world: World) -> None:
        """A person makes keys in the console, and gives them to `keyturn pool add`."""
        async with assembled(world, world.credentials[0].name) as c:
            pool = pool_of(c)
            free = sum(entry.is_free for entry in await pool.entries())
            made = [await self.new_key(f"made ahead {number}") for number in range(_FREE - free + (not self._others))]
            for each in await fill(c, [KeyMaterial(each.text) for each in made], ()):
                if not each.place:
                    raise RuntimeError(f"the pool does not take a key that a person made: {each.sentence}")
            if not self._others:
                taken = await pool.take(_ANOTHER, ())
                self._others[taken.ref.fingerprint] = taken.ref.name
                world.bystanders.add(taken.ref.fingerprint)

    async def clear(self, world: World) -> None:
        async with assembled(world, world.credentials[0].name) as c:
            pool = pool_of(c)
            for entry in await pool.entries():
                if entry.key is not None and entry.key.fingerprint not in self._others:
                    await pool.forget(entry.key)

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        async with assembled(world, world.credentials[0].name) as c:
            there = await self._there(pool_of(c))
        pooled(await self.keys(), watch.seen(current), there, left)

    async def _there(self, pool: Pooled) -> Pool:
        held = [entry for entry in await pool.entries() if entry.key is not None]
        free = {entry.key.fingerprint for entry in held if entry.key and entry.is_free}
        taken = {entry.key.fingerprint: entry.key.name for entry in held if entry.key and not entry.is_free}
        return Pool(free, taken, self._others)


class AnthropicAccount(PooledAccount):
    """Keys are turned off, never deleted: `inactive` is what `keyturn` leaves, and refused."""

    KIND, SIMULATOR = "anthropic", AnthropicSimulator

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        return {**super().settings(url, world), "admin_key": f"env:{self.ADMIN}", "base_url": url}


class ConsoleAccount(PooledAccount):
    """Only a person can delete a key here: the one who listens, when a run waits for that."""

    KIND, SIMULATOR = "console_pool", ConsoleSimulator

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        return {**super().settings(url, world), "vendor": "groq", "check_url": f"{url}/openai/v1/models"}
