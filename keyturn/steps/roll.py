"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.journal import notes
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider, promoted_by_us


async def roll(c: Assembly) -> None:
    """Every further secret holds CURRENT, and every member of every fleet serves it.

    A member that does already is left alone; stops at the first bad one. ConflictError when CURRENT is a person's: it was
    not validated, and no member is moved onto it.
    """
    stages, journal = await observe_decider(c)
    version = promoted_by_us(stages, journal)
    await follow(c, version)
    moved = 0
    for name, fleet in c.fleets.items():
        for member in await fleet.members():
            if await fleet.serving(member, c.name) == version:
                continue
            c.say("roll", f"{name}/{member.name}: rolling")
            await fleet.roll(member, c.name, version)
            c.say("roll", f"{name}/{member.name}: serves the new key")
            moved += 1
    if moved or journal.rolled_at is None:
        secret, store = c.decider
        await store.annotate(secret, notes(about=version.fingerprint, rolled_at=c.now()))
    c.say("roll", f"{moved} rolled, every member serves the current key")
