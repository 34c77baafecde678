"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, RollFailedError
from keyturn.journal import Journal, notes
from keyturn.lifecycle import Reason
from keyturn.model import Member, VersionRef
from keyturn.ports import ProxyFleet, Replacing, Settling
from keyturn.steps.bake import bake
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider, promoted_by_us
from keyturn.steps.prove_member import prove_moved
from keyturn.steps.take_back import was_taken_back
from keyturn.steps.workloads import rollout_of
from keyturn.waves import in_waves

Move = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class _Part:
    """One member, or workload. `move`: False where it was there already. `is_there`: whether it needs no move."""

    fleet: str
    name: str
    move: Move
    is_there: Move


@dataclass
class _Onto:
    """What members are moved onto. `proves`: each is asked before the next one is moved. `bakes`: those that were moved are
    watched before the next wave is. `passed`: who served it already, and is to be asked before the next one is moved: a run
    that moved them may have died before it asked. `stopped`: one failed, and nobody moves a further one."""

    journal: Journal
    version: VersionRef
    word: str
    proves: bool
    bakes: bool = False
    stopped: bool = False
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
    # Nothing is waited for on the way back, in an incident, or for a member that fell back after the proof.
    bakes = ask_the_moved and word == "new" and journal.reason != Reason.INCIDENT
    onto = _Onto(journal, version, word, not to_the_end, bakes, passed=[] if ask_the_moved else None)
    await follow(c, version)
    await _settled(c)
    fleets = [await _parts(c, name, fleet, onto) for name, fleet in c.fleets.items()]
    if c.settings.roll.fleets == "side_by_side":
        done = await _side_by_side(c, fleets, onto)
    else:
        done = [await _fleet(c, parts, onto) for parts in fleets]
    moved = sum(number for number, _ in done)
    bad = next((error for _, error in done if error is not None), None)
    if bad is not None:
        raise bad
    if moved or journal.rolled_at is None:
        secret, store = c.decider
        await store.annotate(secret, notes(about=version.fingerprint, rolled_at=c.now()))
    c.say("roll", f"{moved} rolled, every member serves the current key")


async def is_rolled(c: Assembly) -> bool:
    """Whether `roll` would find every member there, and move none; False also where that is not known."""
    try:
        stages, journal = await observe_decider(c)
        onto = _Onto(journal, promoted_by_us(stages, journal), "", proves=False)
        parts = [part for name, fleet in c.fleets.items() for part in await _parts(c, name, fleet, onto)]
        return await _are_there(parts)
    except KeyturnError:
        return False


async def _parts(c: Assembly, name: str, fleet: ProxyFleet, onto: _Onto) -> list[_Part]:
    """What is rolled there: members, or workloads where the platform replaces those."""
    try:
        if isinstance(fleet, Replacing):
            rollout = rollout_of(onto.journal, onto.version)
            return [
                _Part(
                    name,
                    each,
                    move=partial(_replace, c, name, fleet, each, onto, rollout),
                    is_there=partial(fleet.was_rolled, each, c.name, rollout),
                )
                for each in await fleet.workloads()
            ]
        return [
            _Part(name, each.name, partial(_move, c, name, each, onto), partial(_serves, c, name, each, onto.version))
            for each in await fleet.members()
        ]
    except KeyturnError as error:
        return [_Part(name, "its members", partial(_fail, error), partial(_fail, error))]


async def _fleet(c: Assembly, parts: Sequence[_Part], onto: _Onto) -> tuple[int, KeyturnError | None]:
    """In waves; how many were moved, and what the first bad one raised, where the others are moved all the same."""
    moved, bad = 0, None
    waves = list(in_waves(parts, c.settings.roll.waves if onto.bakes else ()))
    for number, wave in enumerate(waves):
        for part in wave:
            if onto.stopped:
                return moved, bad
            try:
                moved += await part.move()
            except KeyturnError as error:
                if onto.proves:
                    onto.stopped = True
                    raise
                c.say("roll", f"{part.fleet}/{part.name}: {error.message}")
                bad = bad or error
        left = [part for later in waves[number + 1 :] for part in later]
        if left and not await _are_there(left):
            await bake(c, wave[0].fleet, onto.version)
    return moved, bad


async def _are_there(parts: Sequence[_Part]) -> bool:
    return all(await asyncio.gather(*(part.is_there() for part in parts)))


async def _side_by_side(
    c: Assembly, fleets: Sequence[Sequence[_Part]], onto: _Onto
) -> list[tuple[int, KeyturnError | None]]:
    """All fleets at once. Where one fails, the others end what they are at, and move no further member."""
    done = await asyncio.gather(*(_fleet(c, parts, onto) for parts in fleets), return_exceptions=True)
    failed = [each for each in done if isinstance(each, BaseException)]
    # A member that did not take the key is what the run goes back for: it is told before a failure that may pass.
    for error in sorted(failed, key=lambda each: not isinstance(each, RollFailedError)):
        raise error
    return [each for each in done if not isinstance(each, BaseException)]


async def _serves(c: Assembly, name: str, member: Member, version: VersionRef) -> bool:
    return await c.fleets[name].serving(member, c.name) == version


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
    if await _serves(c, name, member, onto.version):
        if onto.passed is not None:
            onto.passed.append((name, member))
        return False
    while onto.passed:
        await prove_moved(c, *onto.passed.pop(0), onto.version)
    c.say("roll", f"{name}/{member.name}: rolling")
    await c.fleets[name].roll(member, c.name, onto.version)
    if onto.proves:
        await prove_moved(c, name, member, onto.version)
    c.say("roll", f"{name}/{member.name}: serves the {onto.word} key")
    return True
