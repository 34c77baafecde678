"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, RollFailedError
from keyturn.journal import Journal, notes
from keyturn.model import Member, Verdict, VersionRef
from keyturn.ports import Replacing, Settling
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider, promoted_by_us
from keyturn.steps.take_back import was_taken_back
from keyturn.steps.workloads import rollout_of

Move = Callable[[], Awaitable[bool]]


async def roll(c: Assembly, *, to_the_end: bool = False) -> None:
    """Every further secret holds CURRENT, and every member of every fleet serves it.

    A member that does already is left alone; stops at the first bad one, or with `to_the_end` goes on with the others and
    raises what the first one raised. ConflictError when CURRENT is a person's: it was not validated, and no member is moved
    onto it.
    """
    stages, journal = await observe_decider(c)
    version = promoted_by_us(stages, journal)
    word = "previous" if was_taken_back(journal, version) else "new"
    await follow(c, version)
    await _settled(c)
    moved, bad = 0, None
    for name, each, move in [part async for part in _parts(c, journal, version, word)]:
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


async def _parts(c: Assembly, journal: Journal, version: VersionRef, word: str) -> AsyncIterator[tuple[str, str, Move]]:
    """What is rolled, one after the other: fleet, name, how. Members, or workloads where the platform replaces those."""
    for name, fleet in c.fleets.items():
        try:
            if isinstance(fleet, Replacing):
                rollout = rollout_of(journal, version)
                for workload in await fleet.workloads():
                    yield name, workload, partial(_replace, c, name, fleet, workload, version, rollout)
            else:
                for member in await fleet.members():
                    yield name, member.name, partial(_move, c, name, member, version, word)
        except KeyturnError as error:
            yield name, "its members", partial(_fail, error)


async def _fail(error: KeyturnError) -> bool:
    raise error


async def _replace(c: Assembly, name: str, fleet: Replacing, workload: str, version: VersionRef, rollout: str) -> bool:
    """False: its roll was begun before, and is done."""
    was = await fleet.was_rolled(workload, c.name, rollout)
    if not was:
        c.say("roll", f"{name}/{workload}: rolling")

    async def proved(member: Member) -> None:
        await _prove(c, name, member)

    await fleet.replace(workload, c.name, version, rollout, proved)
    c.say("roll", f"{name}/{workload}: every member is of this roll")
    return not was


async def _prove(c: Assembly, name: str, member: Member) -> None:
    """Of a member that has just come: one that the provider refuses ends the roll there."""
    found = await c.canaries[name].member(member)
    c.say("roll", f"{name}/{member.name}: {found.reason}")
    if found.verdict is Verdict.REJECTED:
        raise RollFailedError(
            f"{name}/{member.name}: {found.reason}", remedy="look what is different there: its network, its configuration"
        )


async def _settled(c: Assembly) -> None:
    """Whatever a member reads has CURRENT by now. A promote waits for that too, but a run that died there is another's."""
    for secret, store in c.secrets:
        if isinstance(store, Settling):
            await store.settled(secret)


async def _move(c: Assembly, name: str, member: Member, version: VersionRef, word: str) -> bool:
    """False: it serves this version already."""
    fleet = c.fleets[name]
    if await fleet.serving(member, c.name) == version:
        return False
    c.say("roll", f"{name}/{member.name}: rolling")
    await fleet.roll(member, c.name, version)
    c.say("roll", f"{name}/{member.name}: serves the {word} key")
    return True
