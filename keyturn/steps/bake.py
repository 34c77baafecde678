"""Between two waves of a roll: those that were moved are watched, before more are."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from keyturn.assembly import Assembly
from keyturn.durations import text
from keyturn.errors import RollFailedError
from keyturn.model import Member, VersionRef
from keyturn.settings import ErrorLimit
from keyturn.steps.prove_member import prove_moved
from keyturn.traffic import Counted

LOOK_EVERY = timedelta(seconds=15)


async def bake(c: Assembly, fleet: str, version: VersionRef) -> None:
    """Return when the time is over, and each member that serves this version has answered to its end.

    RollFailedError: one does not, or they fail more of their users' requests than the settings allow. What the counters'
    owner raises, where they cannot be read: a wave is not taken for good because nobody looked.
    """
    settings, members = c.settings.roll, await _moved(c, fleet, version)
    before = await _counted(c, fleet, members)
    c.say("roll", f"{fleet}: {len(members)} moved, watched for {text(settings.bake)} before the others")
    ends = c.now() + settings.bake
    while c.now() < ends:
        await c.pause(min(LOOK_EVERY, ends - c.now()).total_seconds())
        for member in members:
            await prove_moved(c, fleet, member, version)
        if settings.errors is not None:
            now = await _counted(c, fleet, members)
            _judge(fleet, [now[each].since(before[each]) for each in now], settings.errors)
    c.say("roll", f"{fleet}: nothing speaks against the others")


async def _moved(c: Assembly, fleet: str, version: VersionRef) -> list[Member]:
    members = await c.fleets[fleet].members()
    serving = await asyncio.gather(*(c.fleets[fleet].serving(each, c.name) for each in members))
    return [each for each, serves in zip(members, serving, strict=True) if serves == version]


async def _counted(c: Assembly, fleet: str, members: list[Member]) -> dict[str, Counted]:
    if fleet not in c.traffic:
        return {}
    found = await asyncio.gather(*(c.traffic[fleet].counted(each) for each in members))
    return {each.name: counted for each, counted in zip(members, found, strict=True)}


def _judge(fleet: str, counted: list[Counted], limit: ErrorLimit) -> None:
    total = sum(counted, Counted())
    if total.requests >= limit.least and total.failed > limit.rate * total.requests:
        raise RollFailedError(
            f"{fleet}: those that were moved failed {total.failed:.0f} of {total.requests:.0f} requests of their users, and "
            f"{limit.most} are allowed",
            remedy="look at their logs; where that is no matter of the key, raise roll.errors.most",
        )
