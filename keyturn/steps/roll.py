"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import notes
from keyturn.model import Member, VersionRef
from keyturn.ports import Settling
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider, promoted_by_us
from keyturn.steps.take_back import was_taken_back


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
    for name, fleet in c.fleets.items():
        for member in await fleet.members():
            try:
                moved += await _move(c, name, member, version, word)
            except KeyturnError as error:
                if not to_the_end:
                    raise
                c.say("roll", f"{name}/{member.name}: {error.message}")
                bad = bad or error
    if bad is not None:
        raise bad
    if moved or journal.rolled_at is None:
        secret, store = c.decider
        await store.annotate(secret, notes(about=version.fingerprint, rolled_at=c.now()))
    c.say("roll", f"{moved} rolled, every member serves the current key")


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
