"""Everything at once: several workers held at any call, faults, late and repeated requests, people, clocks that jump.

A hypothesis state machine over the world in memory. After every effect of anybody it checks the first two promises (what
is served, or told to be served, is a key that the provider accepts), and at the end, when everything was healed and the
sweeps have had their time, the third: nothing is left.

Two things are people's own and not held against keyturn. A key that a person deletes is refused. And who brings an old
value back, or a member, in the moment between a revoke's last look and its delete, is not fenced (docs/recovery.md): such
acts are done while no evidence that was gathered before them is still to be acted upon.

In an incident a key may be refused before it has a successor, because somebody says so; no other one may be.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flows.outcome import Outcome
from flows.swept import State, Swept
from keyturn.errors import KeyturnError
from keyturn.lifecycle import Reason
from keyturn.material import KeyMaterial
from keyturn.model import Stage, Verdict, VersionRef
from keyturn.testing.explorer import Actor, Fault, Post
from keyturn.testing.world import World
from tests.steps import plain_flows
from tests.steps.scene import leaked_first

WORKERS = 3
ROUNDS = 14  # of sweeps, in the end; a key that was taken back takes a day to go
MEMBERS = ("one", "two")
OVERLAPS = ("0s", "1h")

Job = Callable[["Machine", Actor], Coroutine[Any, Any, Any]]


def _rotate(reason: Reason, overlap: timedelta | None = None) -> Job:
    return lambda machine, actor: plain_flows.rotate(machine.seat(actor), machine.world.clock.now(), reason, overlap)


def _end_an_old_one(first: bool) -> Job:
    async def respond(machine: Machine, actor: Actor) -> Outcome:
        leaked = machine.an_old_one()
        return await plain_flows.respond(
            machine.seat(actor), machine.world.clock.now(), first=first, fingerprint=leaked.fingerprint()
        )

    return respond


JOBS: dict[str, Job] = {
    "rotate": _rotate(Reason.MANUAL),
    "rotate by schedule": _rotate(Reason.SCHEDULED),
    "rotate without overlap": _rotate(Reason.MANUAL, timedelta(0)),
    "rotate in an incident": _rotate(Reason.INCIDENT),
    "respond": lambda machine, actor: plain_flows.respond(machine.seat(actor), machine.world.clock.now()),
    "revoke first": lambda machine, actor: plain_flows.respond(machine.seat(actor), machine.world.clock.now(), first=True),
    "respond to an old one": _end_an_old_one(False),
    "revoke an old one first": _end_an_old_one(True),
    "retire": lambda machine, actor: plain_flows.retire(machine.seat(actor), machine.world.clock.now()),
    "retire now": lambda machine, actor: plain_flows.retire(machine.seat(actor), machine.world.clock.now(), now=True),
    "roll back": lambda machine, actor: plain_flows.rollback(machine.seat(actor)),
    "sweep": lambda machine, actor: plain_flows.sweep(machine.seat(actor)),
}

# How far the clocks jump: within a pause, past an overlap, past the age of a stray, past everything.
JUMPS = (timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=2), timedelta(days=2))
SKEWS = (timedelta(0), timedelta(seconds=90), timedelta(minutes=-5), timedelta(hours=3))


WHO = st.integers(0, WORKERS - 1)
JOB = st.sampled_from(sorted(JOBS))
SKEW = st.sampled_from(SKEWS)
FAULTS = st.dictionaries(st.integers(0, 60), st.sampled_from(list(Fault)), max_size=2)

EVENTS = (
    "new keys are good, or not",
    "a member comes back, or does not",
    "a member is silent",
    "a key is used",
    "a member falls back",
    "a member is started anew",
)
DEEDS = ("sets a key of their own", "sets a key that was there before", "deletes a key", "discards what is staged")


class Machine(RuleBasedStateMachine):
    """One history. `story` tells it, for whoever has to read a failure."""

    world: World
    merges: bool
    can_list: bool

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.actors: list[Actor] = []
        self.skews: dict[str, timedelta] = {}
        self.post = Post()
        self.killed: set[str] = set()
        self.wrong: list[str] = []
        self.count = 0
        self.keys = count()
        self.been_current: dict[str, KeyMaterial] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(
        stores=st.sampled_from([1, 2]),
        overlap=st.sampled_from(OVERLAPS),
        can_list=st.sampled_from([True, True, True, False]),
        died_at=st.integers(0, 90),
        later=st.sampled_from(JUMPS),
        slow=st.sampled_from([timedelta(0), timedelta(seconds=20)]),
        merges=st.sampled_from([False, False, True]),
        uses=st.booleans(),
        disables=st.sampled_from([False, True]),
    )
    def begin(
        self,
        stores: int,
        overlap: str,
        can_list: bool,
        died_at: int,
        later: timedelta,
        slow: timedelta,
        merges: bool,
        uses: bool,
        disables: bool,
    ) -> None:
        """What a first rotation left that died at some call, or did not.

        `merges`: notes are read, merged and written, as at AWS. `uses`: the provider tells a key's last use. `disables`: and
        can disable one.
        """
        self.world = self.run(World.make(stores=stores, overlap=overlap, max_age="30d", keys=self.new_key))
        self.merges, self.can_list = merges, can_list
        provider = self.world.provider
        provider.capabilities = replace(
            provider.capabilities, can_list=can_list, reports_last_use=uses, can_disable=disables
        )
        provider.slow_to_accept = slow
        self.world.clock.forward(hours=1)
        if died_at:
            actor = self.begun("rotate", timedelta(0), {died_at: Fault.DIES_BEFORE})
            self.over(actor)
            self.world.clock.moment += later

    # Workers. Rules are drawn evenly, so there are few of them beside these.

    @rule(who=WHO, job=JOB, skew=SKEW, faults=FAULTS, effects=st.integers(0, 6))
    def works_up_to_an_effect(self, who: int, job: str, skew: timedelta, faults: dict[int, Fault], effects: int) -> None:
        """A worker that is there goes on, else one begins; to right before an effect, where it matters most."""
        actor = self.worker(who, job, skew, faults)
        if not self.run(actor.until(effects=actor.effects + effects)):
            self.over(actor)

    @rule(who=WHO, job=JOB, skew=SKEW, faults=FAULTS, calls=st.integers(1, 40))
    def works_up_to_a_call(self, who: int, job: str, skew: timedelta, faults: dict[int, Fault], calls: int) -> None:
        actor = self.worker(who, job, skew, faults)
        if not self.run(actor.until(calls=len(actor.calls) + calls)):
            self.over(actor)

    @rule(who=WHO, job=JOB, skew=SKEW, faults=FAULTS)
    def works_to_the_end(self, who: int, job: str, skew: timedelta, faults: dict[int, Fault]) -> None:
        self.over(self.worker(who, job, skew, faults))

    @rule(job=JOB)
    def all_but_a_newcomer_sleep(self, job: str) -> None:
        """Through a whole run of somebody else."""
        self.over(self.begun(job, timedelta(0), {}))

    @rule(job=JOB, skew=SKEW, faults=FAULTS, effects=st.integers(0, 8), overtaken_by=JOB, then=st.integers(0, 3))
    def one_is_overtaken(
        self, job: str, skew: timedelta, faults: dict[int, Fault], effects: int, overtaken_by: str, then: int
    ) -> None:
        """The shape of most races: one is held before an effect, another does all of its own, the first goes on."""
        actor = self.begun(job, skew, faults)
        goes_on = self.run(actor.until(effects=effects))
        self.over(self.begun(overtaken_by, timedelta(0), {}))
        if goes_on and then:
            goes_on = self.run(actor.until(effects=effects + then))
        if not goes_on or not then:
            self.over(actor)

    @precondition(lambda self: self.actors)
    @rule(who=WHO)
    def dies(self, who: int) -> None:
        actor = self.actors[who % len(self.actors)]
        actor.dead = True
        self.over(actor)

    @precondition(lambda self: self.post.letters)
    @rule(number=st.integers(0, 5))
    def a_late_request_arrives(self, number: int) -> None:
        self.deliver(number % len(self.post.letters))

    # The world, and people.

    @rule(by=st.sampled_from(JUMPS))
    def time_passes(self, by: timedelta) -> None:
        self.world.clock.moment += by

    @rule(what=st.sampled_from(EVENTS), member=st.sampled_from(MEMBERS), number=st.integers(0, 5))
    def something_happens(self, what: str, member: str, number: int) -> None:
        world, provider = self.world, self.world.provider
        if what == "new keys are good, or not":
            provider.refuses_new = not provider.refuses_new
        elif what == "a member comes back, or does not":
            world.fleet.bad ^= {member}
        elif what == "a member is silent":
            world.fleet.loaded[member] = None
        elif what == "a key is used" and (there := self.accepted()):
            provider.try_out(there[number % len(there)].fingerprint(), is_use=True)
        elif what == "a member falls back" and self.nobody_acts_on_evidence() and (there := self.accepted()):
            world.fleet.loaded[member] = VersionRef("?", there[number % len(there)].fingerprint())
        elif what == "a member is started anew" and self.nobody_acts_on_evidence():
            world.fleet.loaded[member] = self.run(world.store.current(world.secret)).version

    @rule(what=st.sampled_from(DEEDS), number=st.integers(0, 5))
    def somebody_meddles(self, what: str, number: int) -> None:
        world, keys = self.world, self.world.provider.keys
        store = number % len(world.secrets)
        if what == "sets a key of their own":
            material = world.provider.add(self.new_key(), "made by hand, too").material
            if world.provider.check_quietly(material):  # else they would notice
                world.change_by_hand(material, store)
        elif what == "sets a key that was there before" and self.nobody_acts_on_evidence() and (there := self.accepted()):
            world.change_by_hand(there[number % len(there)], store)
        elif what == "deletes a key" and len(keys) > 1:
            self.killed.add(keys.pop(list(keys)[number % len(keys)])[1].fingerprint())
        elif what == "discards what is staged":
            pending = self.run(world.store.stages(world.secret)).get(Stage.PENDING)
            if pending is not None:
                self.run(world.store.discard(world.secret, pending))

    # What must hold.

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "world"):
            self.look()
        assert not self.wrong, self.wrong

    def look(self) -> None:
        """Promises 1 and 2. A leaked key may be refused, and that is somebody's wish: from the note of it on, not before."""
        self.killed.add(leaked_first(self.world))
        for secret, store in self.world.secrets:
            document = store.documents[secret.path]
            assert isinstance(document, dict)
            if document["OTHER"] != "untouched":
                self.complain(f"another field of {secret.store} was changed")
            held = self.run_now(store.current(secret))
            self.been_current[held.version.fingerprint] = held.material
            self.demand_accepted(held.version.fingerprint, f"CURRENT of {secret.store}")
        for name, fleet in self.world.fleets.items():
            for member, version in fleet.loaded.items():
                if version is not None:
                    self.demand_accepted(version.fingerprint, f"what {name}/{member} serves")

    def demand_accepted(self, fingerprint: str, what: str) -> None:
        found = self.world.provider.try_out(fingerprint, is_use=False)
        if found.verdict is not Verdict.ACCEPTED and fingerprint not in self.killed:
            self.complain(f"{what} is refused by the provider")

    def complain(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world") and not self.wrong:
                self.nothing_is_left()
        finally:
            for actor in self.actors:
                self.run(actor.bury())
            self.loop.close()

    def nothing_is_left(self) -> None:
        """Promise 3, and 6: whoever died, sleeps or waits in the post, sweeps and one person end it all."""
        while self.actors:
            self.over(self.actors[0])
        while self.post.letters:
            self.deliver(0)
        world = self.world
        world.fleet.bad, world.provider.refuses_new = set(), False
        for fleet in world.fleets.values():
            silent = [member for member, version in fleet.loaded.items() if version is None]
            fleet.loaded |= dict.fromkeys(silent, self.run(fleet.store.current(fleet.secret)).version)
        rows: list[Any] = []
        for _ in range(ROUNDS):
            world.clock.forward(hours=3)
            rows.append(self.run(plain_flows.sweep(world.worker())))
            self.look()
            self.somebody_looks(rows[-1])
            if rows[-1].state is State.QUIET and rows[-1].is_well and not self.what_is_left():
                break
        assert not self.wrong, self.wrong
        assert not self.what_is_left(), (self.what_is_left(), rows[-3:])

    def somebody_looks(self, row: Swept) -> None:
        """A person does what the sweep's words say, where the sweep alone does not go on."""
        current = self.run(self.world.store.current(self.world.secret)).version
        dead = self.world.provider.try_out(current.fingerprint, is_use=False).verdict is not Verdict.ACCEPTED
        if dead or row.state in (State.PARKED, State.FAILED) or row.drift:
            reason = Reason.INCIDENT if dead else Reason.MANUAL
            self.run(_told(plain_flows.rotate(self.world.worker(), self.world.clock.now(), reason)))
            self.look()

    def what_is_left(self) -> list[str]:
        world = self.world
        current = self.run(world.store.current(world.secret)).version
        left = []
        for secret, store in world.secrets:
            held = self.run(store.stages(secret))
            if held[Stage.CURRENT] != current:
                left.append(f"{secret.store} holds another value")
            if any(self.is_left(secret == world.secret, stage, version) for stage, version in held.items()):
                left.append(f"{secret.store} still holds {', '.join(sorted(held))}")
        for name, fleet in world.fleets.items():
            if set(fleet.loaded.values()) != {current}:
                left.append(f"not all of {name} serve CURRENT")
        strays = [
            ref.id
            for ref, key in world.provider.keys.values()
            if ref.name.startswith("keyturn-") and key.fingerprint() != current.fingerprint
        ]
        if strays and self.can_list:
            left.append(f"our keys {strays} are left over")
        return left

    def is_left(self, decides: bool, stage: Stage, version: VersionRef) -> bool:
        """A dead value may wait in a further store for the next rotation to displace it; a person's may be PREVIOUS. So may
        one whose id nobody could look up: a person was told to delete its key, and then it is a dead one."""
        live = [ref.name for ref, key in self.world.provider.keys.values() if key.fingerprint() == version.fingerprint]
        if stage is Stage.PENDING:
            return decides or (self.can_list and bool(live))
        return stage is Stage.PREVIOUS and decides and self.can_list and any(name.startswith("keyturn-") for name in live)

    # Means.

    def seat(self, actor: Actor) -> Any:
        """What this worker is given: the world through its own eyes, and with its own clock."""
        clock, skew = self.world.clock, self.skews[actor.name]
        return actor.over(replace(self.world.worker(), now=lambda: clock.now() + skew))

    def worker(self, who: int, job: str, skew: timedelta, faults: dict[int, Fault]) -> Actor:
        """The one who is there, or somebody who begins."""
        return self.actors[who] if who < len(self.actors) else self.begun(job, skew, faults)

    def begun(self, job: str, skew: timedelta, faults: dict[int, Fault]) -> Actor:
        self.count += 1
        actor = Actor(f"{job} {self.count}", faults, self.look, self.merges, self.post)
        self.skews[actor.name] = skew
        self.actors.append(actor)

        async def start() -> None:
            actor.start(JOBS[job](self, actor))
            await actor.until(calls=0)

        self.run(start())
        return actor

    def an_old_one(self) -> KeyMaterial:
        """What was in service before what is, and is accepted still; where there is none, what is in service."""
        current = self.run_now(self.world.store.current(self.world.secret)).material
        return next((key for key in reversed(self.accepted()) if key != current), current)

    def accepted(self) -> list[KeyMaterial]:
        """What a person could bring back: values that were current, and are still accepted."""
        return [key for key in self.been_current.values() if self.world.provider.check_quietly(key)]

    def new_key(self) -> KeyMaterial:
        """The same in every replay."""
        return KeyMaterial(f"sk-{hashlib.sha256(str(next(self.keys)).encode()).hexdigest()}")

    def over(self, actor: Actor) -> None:
        self.actors.remove(actor)
        outcome = self.run(actor.end())
        assert outcome is None or isinstance(outcome, KeyturnError | Outcome | Swept), outcome

    def deliver(self, number: int) -> None:
        self.run(self.post.deliver(number))
        self.look()

    def nobody_acts_on_evidence(self) -> bool:
        """No worker has asked a member, or tried to revoke, and is still at work; and no delete is in the post."""
        gathered = any(".member" in call or call.endswith(".revoke") for actor in self.actors for call in actor.calls)
        return not gathered and not any(name.endswith(".revoke") for name, _ in self.post.letters)

    def run_now(self, work: Coroutine[Any, Any, Any]) -> Any:
        """A coroutine of the store in memory, which awaits nothing: also from inside the loop."""
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        raise RuntimeError("it awaits something")


async def _told(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(KeyturnError):
        await work
