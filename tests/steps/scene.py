"""A world with actors in it, watched: what must hold after every effect, and what must be left in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from flows.outcome import Result
from keyturn.errors import KeyturnError
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Reason
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, SecretRef, Stage, Verdict
from keyturn.settings import SweepSettings
from keyturn.steps.observe import begin
from keyturn.steps.revoke import settle
from keyturn.stores.memory import MemoryStore
from keyturn.testing.explorer import Actor, Fault
from keyturn.testing.looking_store import LookingStore
from keyturn.testing.memory_in_place import MemoryInPlace
from keyturn.testing.memory_pool import MemoryPool
from keyturn.testing.memory_workloads import MemoryWorkloads
from keyturn.testing.own_world import MemoryAdminKeys, ServedToItself
from keyturn.testing.world import MemoryFleet, MemoryProvider, MemorySlots, World
from tests.steps import plain_flows

MOST_RUNS = 6


@dataclass(frozen=True)
class Kind:
    """What kind of world. `seasoned`: it has seen a rotation, so its key in use is one of ours."""

    name: str
    stores: int = 1
    overlap: str = "1h"
    can_list: bool = True
    seasoned: bool = False
    one_look: bool = False  # its stores give one, as AWS does
    disables: bool = False  # its provider can disable a key before it is deleted
    most: int | None = None  # so many keys its provider takes
    by_hand: bool = False  # only a person can delete keys there, and does so when asked to
    provider_of: type[MemoryProvider] = MemoryProvider
    fleet_of: type[MemoryFleet] = MemoryFleet

    def __str__(self) -> str:
        return self.name


PLAIN, TWO_STORES = Kind("plain"), Kind("two-stores", stores=2)
NO_OVERLAP, SEASONED = Kind("no-overlap", overlap="0s"), Kind("seasoned", stores=2, seasoned=True)
ONE_LOOK = Kind("one-look", one_look=True)
LOOKS_TWICE = Kind("looks-twice", stores=2, seasoned=True, one_look=True)
BLIND = Kind("blind", can_list=False, seasoned=True)  # its provider cannot list keys
DISABLING = Kind("disabling", disables=True)
CAPPED = Kind("capped", seasoned=True, disables=True, most=2)
POOL = Kind("pool", provider_of=MemoryPool)
SEASONED_POOL = Kind("seasoned-pool", stores=2, seasoned=True, provider_of=MemoryPool)
BY_HAND = Kind("by-hand", provider_of=MemoryPool, by_hand=True)
IN_PLACE = Kind("in-place", provider_of=MemoryInPlace)
SEASONED_IN_PLACE = Kind("seasoned-in-place", stores=2, seasoned=True, disables=True, provider_of=MemoryInPlace)
SLOTS = Kind("slots", provider_of=MemorySlots)
OWN = Kind("own", provider_of=MemoryAdminKeys, fleet_of=ServedToItself)  # what keyturn itself logs in with
SEASONED_OWN = Kind("seasoned-own", seasoned=True, provider_of=MemoryAdminKeys, fleet_of=ServedToItself)
REPLACED = Kind("replaced", seasoned=True, fleet_of=MemoryWorkloads)  # its members are, by their platform
SEASONED_SLOTS = Kind("seasoned-slots", stores=2, seasoned=True, provider_of=MemorySlots)


@dataclass
class Scene:
    """One scenario. `asked`: when the rotation it is about was asked for. `wrong`: what was found, in words.

    `promoted`: what CURRENT was, one after the other. `killed`: fingerprints of keys that a person deleted: that they are
    refused is no fault of ours. `killed_once_noted`: of keys that have leaked: the same, from the note of that on.
    """

    title: str
    world: World
    asked: datetime
    merges_notes: bool = False
    wrong: list[str] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    killed_once_noted: set[str] = field(default_factory=set)
    promoted: list[str] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def of(cls, title: str, kind: Kind = PLAIN, *, merges_notes: bool = False) -> AsyncIterator[Scene]:
        made_of = LookingStore if kind.one_look else MemoryStore
        world = await World.make(
            stores=kind.stores,
            overlap=kind.overlap,
            made_of=made_of,
            provider_of=kind.provider_of,
            fleet_of=kind.fleet_of,
        )
        if isinstance(world.provider, MemoryAdminKeys) and isinstance(world.fleet, ServedToItself):
            world.provider.login = world.fleet.login
        if kind.seasoned:
            await _season(world)
        can = replace(
            world.provider.capabilities, can_list=kind.can_list, can_disable=kind.disables, max_live_keys=kind.most
        )
        world.provider.capabilities = can
        if isinstance(world.provider, MemoryPool):
            world.provider.can_end = not kind.by_hand
        world.clock.forward(hours=1)
        scene = cls(title, world, world.clock.now(), merges_notes)
        scene.promoted.append(world.first_key.material.fingerprint())
        try:
            yield scene
        finally:
            for actor in scene.actors:
                await actor.bury()

    def actor(self, name: str, faults: Mapping[int, Fault] | None = None) -> Actor:
        self.actors.append(Actor(name, faults or {}, self.watch, self.merges_notes))
        return self.actors[-1]

    def rotate(
        self,
        actor: Actor,
        asked: datetime | None = None,
        reason: Reason = Reason.MANUAL,
        overlap: timedelta | None = None,
    ) -> Coroutine[Any, Any, Any]:
        return plain_flows.rotate(actor.over(self.world.worker()), asked or self.asked, reason, overlap)

    def retire(self, actor: Actor, *, now: bool = False) -> Coroutine[Any, Any, Any]:
        return plain_flows.retire(actor.over(self.world.worker()), self.world.clock.now(), now=now)

    def respond(
        self, actor: Actor, asked: datetime | None = None, *, first: bool = False, fingerprint: str = ""
    ) -> Coroutine[Any, Any, Any]:
        worker = actor.over(self.world.worker())
        return plain_flows.respond(worker, asked or self.asked, first=first, fingerprint=fingerprint)

    def rollback(self, actor: Actor) -> Coroutine[Any, Any, Any]:
        return plain_flows.rollback(actor.over(self.world.worker()))

    def sweep(self, actor: Actor, settings: SweepSettings | None = None) -> Coroutine[Any, Any, Any]:
        return plain_flows.sweep(actor.over(self.world.worker()), settings)

    def complain(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)

    def watch(self) -> None:
        """Promises 1 and 2: whatever the proxies serve, or are told to serve, is a key that the provider accepts."""
        self.killed |= self.killed_once_noted & {leaked_first(self.world)}
        for secret, store in self.world.secrets:
            fingerprint = _fingerprint(store, secret)
            if secret == self.world.secret and fingerprint != self.promoted[-1]:
                self.promoted.append(fingerprint)
            self._demand_accepted(fingerprint, f"CURRENT of {secret.store}")
        for name, fleet in self.world.fleets.items():
            for member, version in fleet.loaded.items():
                if version is not None:
                    self._demand_accepted(version.fingerprint, f"what {name}/{member} serves")

    def _demand_accepted(self, fingerprint: str, what: str) -> None:
        found = self.world.provider.try_out(fingerprint, is_use=False)
        if found.verdict is not Verdict.ACCEPTED and fingerprint not in self.killed:
            self.complain(f"{what} is refused by the provider")

    async def finish(
        self,
        *,
        runs: int = 1,
        asked: datetime | None = None,
        reason: Reason = Reason.MANUAL,
        strays: int = 0,
        first_key_goes: bool = True,
    ) -> None:
        """Run to completion, by workers that know nothing but the world; then look what is left.

        `runs`: so many it may take. `strays`: so many of our keys may be left to the sweep.
        """
        asked = asked or self.asked
        taken = await self._run_until_done(asked, reason)
        if isinstance(self.world.provider, MemoryInPlace):
            # What ends by itself waits for no run that is asked for. (Elsewhere sweeps do no more than these runs.)
            await self.actor("sweep").run(self.sweep(self.actors[-1]))
        self.world.clock.forward(hours=3)
        retired = await self.actor("retire").run(self.retire(self.actors[-1]))
        if await self.a_person_deletes():
            retired = await self.actor("retire").run(self.retire(self.actors[-1]))
        if isinstance(retired, KeyturnError):
            self.complain(f"the old key is not retired: {type(retired).__name__} {retired.message[:90]}")
        await self.a_person_deletes()
        again = await self.actor("again").run(self.rotate(self.actors[-1], asked, reason))
        if isinstance(again, KeyturnError) or again.result is not Result.NOTHING:
            self.complain(f"a run after the last one finds something to do: {str(again)[:90]}")
        if taken > runs:
            self.complain(f"took {taken} runs")
        await self._look(strays, first_key_goes)

    async def a_person_deletes(self) -> bool:
        """What was asked for, in the console of a vendor that has no call for it."""
        provider = self.world.provider
        if not isinstance(provider, MemoryPool) or not provider.asked_of_people:
            return False
        for id in provider.asked_of_people:
            provider.keys.pop(id, None)
        provider.asked_of_people.clear()
        for fingerprint in Journal.parse(await self.world.store.annotations(self.world.secret)).by_hand:
            with suppress(KeyturnError):  # some are settled by then
                await settle(self.world.worker(), fingerprint, unchecked=True)
        return True

    async def _run_until_done(self, asked: datetime, reason: Reason) -> int:
        for number in range(1, MOST_RUNS + 1):
            outcome = await self.actor(f"run {number}").run(self.rotate(self.actors[-1], asked, reason))
            if await self.a_person_deletes():
                outcome = await self.actor(f"run {number} again").run(self.rotate(self.actors[-1], asked, reason))
            journal = Journal.parse(await self.world.store.annotations(self.world.secret))
            is_over = not isinstance(outcome, KeyturnError) and outcome.result is not Result.PENDING
            if is_over and journal.promoted_at is not None and journal.promoted_at >= asked.replace(microsecond=0):
                return number
            self.world.clock.forward(minutes=40)
        self.complain(f"no run ends it: {type(outcome).__name__} {str(outcome)[:120]}")
        return 0

    async def _look(self, strays: int, first_key_goes: bool) -> None:
        self.watch()
        world = self.world
        current = (await world.store.current(world.secret)).version
        for secret, store in world.secrets:
            held = await store.stages(secret)
            if held[Stage.CURRENT] != current:
                self.complain(f"{secret.store} holds another value")
            if Stage.PENDING in held or (Stage.PREVIOUS in held and secret == world.secret):
                self.complain(f"{secret.store} still holds {', '.join(sorted(held))}")
        for name, fleet in world.fleets.items():
            if set(fleet.loaded.values()) != {current}:
                self.complain(f"not all of {name} serve CURRENT")
            if any(fleet.rolls.count(member) >= len(self.promoted) for member in fleet.names):
                self.complain(f"{name} was rolled more often than keys were promoted")
        others = [ref for ref, key in world.provider.keys.values() if key.fingerprint() != current.fingerprint]
        if first_key_goes and world.first_key.ref.id in [ref.id for ref in others]:
            self.complain("the first key still lives")
        ours = await world.provider.left_over(current.fingerprint)
        if len(ours) > strays:
            self.complain(f"{len(ours)} of our keys are left over: {ours[-1]}")
        world.clock.forward(hours=1)
        turn = await begin(world.worker(), Asked(world.clock.now()))
        if turn.decision.check != "due":
            self.complain(f"half-way: {turn.decision.check}")


class Findings:
    """What a family of scenarios came to."""

    def __init__(self) -> None:
        self.scenarios = 0
        self.bad: list[str] = []

    def add(self, scene: Scene) -> None:
        self.scenarios += 1
        if scene.wrong:
            self.bad.append(f"{scene.title}: {'; '.join(scene.wrong)}")

    def demand_none(self, at_least: int) -> None:
        """`at_least`: so many scenarios; fewer would mean that the exploration has lost its way."""
        assert not self.bad, f"{len(self.bad)} of {self.scenarios}:\n" + "\n".join(self.bad[:12])
        assert self.scenarios >= at_least, f"only {self.scenarios} scenarios"


async def calls_of_a_rotation(kind: Kind) -> list[str]:
    """The calls of a run to which nothing happens."""
    async with Scene.of("undisturbed", kind) as scene:
        actor = scene.actor("A")
        await actor.run(scene.rotate(actor))
        return actor.calls


async def _season(world: World) -> None:
    await plain_flows.rotate(world.worker(), world.clock.now(), Reason.MANUAL, timedelta(0))
    world.clock.forward(hours=1)
    if isinstance(world.provider, MemoryInPlace):
        world.clock.forward(hours=2)
        await plain_flows.retire(world.worker(), world.clock.now())
    current = (await world.store.current(world.secret)).material
    ((ref, material),) = [each for each in world.provider.keys.values() if each[1] == current]
    world.first_key = CreatedKey(ref, material)
    world.provider.revoked.clear()
    for fleet in world.fleets.values():
        fleet.rolls.clear()


def leaked_first(world: World) -> str:
    """The key that is noted to be refused before it has a successor; "" where there is none."""
    read = world.store.annotations(world.secret)
    try:
        read.send(None)  # the store in memory awaits nothing
    except StopIteration as done:
        journal = Journal.parse(done.value)
    return journal.leaked.text if journal.leaked is not None and journal.leaked.first else ""


def _fingerprint(store: MemoryStore, secret: SecretRef) -> str:
    document = store.documents[secret.path]
    assert isinstance(document, dict)
    return KeyMaterial(document["OPENAI_API_KEY"]).fingerprint()
