"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import Journal, notes
from keyturn.model import Member, VersionRef
from keyturn.ports import Replacing, Settling
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider, promoted_by_us
from keyturn.steps.prove_member import prove_moved
from keyturn.steps.take_back import was_taken_back
from keyturn.steps.workloads import rollout_of

Move = Callable[[], Awaitable[bool]]


@dataclass
class _Onto:
    """What members are moved onto. `proves`: each is, before the next one is moved. `passed`: who served it already, and is
    to be asked before the next one is moved: a run that moved them may have died before it asked."""

    journal: Journal
    version: VersionRef
    word: str
    proves: bool
    passed: list[tuple[str, Member]] | None = field(default_factory=list)


async def roll(c: Assembly, *, to_the_end: bool = False, past_the_moved: bool = False) -> None:
    """Every further secret holds CURRENT, and every member of every fleet serves it.

    A member that does already is left alone; each that is moved is proved before the next one. Stops at the first bad one,
    or with `to_the_end` proves none, goes on with the others and raises what the first one raised. `past_the_moved`: those
    that an earlier run had moved are not asked again, so that no member keeps the others from the new key in an incident.
    ConflictError when CURRENT is a person's: it was not validated, and no member is moved onto it.
    """
    stages, journal = await observe_decider(c)
    version = promoted_by_us(stages, journal)
    word = "previous" if was_taken_back(journal, version) else "new"
    ask_the_moved = not (to_the_end or past_the_moved or journal.proved_at)
    onto = _Onto(journal, version, word, not to_the_end, [] if ask_the_moved else None)
    await follow(c, version)
    await _settled(c)
    moved, bad = 0, None
    for name, each, move in [part async for part in _parts(c, onto)]:
        try:
            moved += await move()
        except KeyturnError as error:
            if not to_the_end:
                raise
            c.say("roll", f"{name}/{each}: {error.message}")
            bad = bad or error
    if bad is not None:
        raise bad
    if moved or journal.rolled_at is None:
        secret, store = c.decider
        await store.annotate(secret, notes(about=version.fingerprint, rolled_at=c.now()))
    c.say("roll", f"{moved} rolled, every member serves the current key")


async def _parts(c: Assembly, onto: _Onto) -> AsyncIterator[tuple[str, str, Move]]:
    """What is rolled, one after the other: fleet, name, how. Members, or workloads where the platform replaces those."""
    for name, fleet in c.fleets.items():
        try:
            if isinstance(fleet, Replacing):
                rollout = rollout_of(onto.journal, onto.version)
                for workload in await fleet.workloads():
                    yield name, workload, partial(_replace, c, name, fleet, workload, onto, rollout)
            else:
                for member in await fleet.members():
                    yield name, member.name, partial(_move, c, name, member, onto)
        except KeyturnError as error:
            yield name, "its members", partial(_fail, error)


async def _fail(error: KeyturnError) -> bool:
    raise error


async def _replace(c: Assembly, name: str, fleet: Replacing, workload: str, onto: _Onto, rollout: str) -> bool:
    """False: its roll was begun before, and is done."""
    was = await fleet.was_rolled(workload, c.name, rollout)
    if not was:
        c.say("roll", f"{name}/{workload}: rolling")

    async def proved(member: Member) -> None:
        if onto.proves:
            await prove_moved(c, name, member, onto.version)
            c.say("roll", f"{name}/{member.name}: was asked with the {onto.word} key")

    await fleet.replace(workload, c.name, onto.version, rollout, proved)
    c.say("roll", f"{name}/{workload}: every member is of this roll")
    return not was


async def _settled(c: Assembly) -> None:
    """Whatever a member reads has CURRENT by now. A promote waits for that too, but a run that died there is another's."""
    for secret, store in c.secrets:
        if isinstance(store, Settling):
            await store.settled(secret)


async def _move(c: Assembly, name: str, member: Member, onto: _Onto) -> bool:
    """False: it serves this version already."""
    fleet = c.fleets[name]
    if await fleet.serving(member, c.name) == onto.version:
        if onto.passed is not None:
            onto.passed.append((name, member))
        return False
    while onto.passed:
        await prove_moved(c, *onto.passed.pop(0), onto.version)
    c.say("roll", f"{name}/{member.name}: rolling")
    await fleet.roll(member, c.name, onto.version)
    if onto.proves:
        await prove_moved(c, name, member, onto.version)
    c.say("roll", f"{name}/{member.name}: serves the {onto.word} key")
    return True
