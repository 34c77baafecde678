"""roll: move each fleet onto CURRENT, member by member, and wait until it is really done."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.journal import Journal, notes


async def roll(c: Assembly) -> None:
    """Every member of every fleet serves CURRENT. A member that does already is left alone; stops at the first bad one."""
    secret, store = c.decider
    version = (await store.current(secret)).version
    moved = 0
    for name, fleet in c.fleets.items():
        for member in await fleet.members():
            if await fleet.serving(member, c.name) == version:
                continue
            c.say("roll", f"{name}/{member.name}: rolling")
            await fleet.roll(member, c.name, version)
            c.say("roll", f"{name}/{member.name}: serves the new key")
            moved += 1
    journal = Journal.parse(await store.annotations(secret))
    if moved or journal.rolled_at is None:
        await store.annotate(secret, notes(rolled_at=c.now()))
    c.say("roll", f"{moved} rolled, every member serves the current key")
