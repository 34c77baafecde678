"""What must be left in the end, whatever was done to the workers: one CURRENT that works, and nothing else.

What of a vendor's keys is "nothing else" hangs on what its API can do: tests.chaos.vendors.rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from keyturn.lifecycle import Asked, Step, decide
from keyturn.model import Stage
from keyturn.steps.observe import observe_leniently
from tests.chaos.fleet import Member
from tests.chaos.inside import assembled
from tests.chaos.left import Left
from tests.chaos.watch import REFUSED, Watch
from tests.chaos.world import World


async def judge(world: World, watch: Watch, rolls_before: Mapping[Member, int]) -> Left:
    """As things stand now."""
    await watch.look("the last run")
    left = Left(outages=list(watch.outages), lost=list(watch.lost))
    if watch.excused:
        left.for_a_person = [f"{fact}: {watch.excused}" for fact in left.outages if REFUSED in fact]
        left.outages = [fact for fact in left.outages if REFUSED not in fact]
    current = await world.current()
    await _secrets_and_members(world, current, left)
    for each in world.credentials:
        await _next_step(world, each.name, left)
    await world.account.judge(world, watch, current, left)
    promotions = sum(len(promoted) - 1 for promoted in watch.promoted.values())
    for member, after in (await world.fleet.rolls()).items():
        rolled = after - rolls_before.get(member, 0)
        if rolled > promotions:
            left.double_rolls.append(f"{member.name} was rolled {rolled} times for {promotions} promoted keys")
    return left


async def _secrets_and_members(world: World, current: dict[str, str], left: Left) -> None:
    held = await world.held()
    for each in world.credentials:
        for spot in each.spots[1:]:
            if held[spot].fingerprint != current[each.name]:
                left.unfinished.append(f"{spot.store} holds another key of {each.name} than the deciding secret")
    for member, status in (await world.fleet.statuses()).items():
        for name, fingerprint in current.items():
            if status is None or status["versions"].get(name, {}).get("fingerprint") != fingerprint:
                state = status["state"] if status else "gone"
                left.unfinished.append(f"{member.name} ({state}) does not serve the current key of {name}")


async def _next_step(world: World, name: str, left: Left) -> None:
    """As `keyturn status` sees it: nothing stands half-way, and what comes next is a new rotation."""
    async with assembled(world, name) as c:
        seen = await observe_leniently(c)
        for secret, store in c.secrets:
            held = [stage for stage in await store.stages(secret) if stage is not Stage.CURRENT]
            left.unfinished += [f"{name}: {secret} still holds a {stage} value" for stage in held]
    left.unfinished += [f"{name}: {problem}" for problem in seen.problems]
    # A moment later than the last promotion: the journal's times are whole seconds.
    decision = decide(seen, Asked(world.account.now() + timedelta(seconds=2), overlap=c.settings.overlap))
    if decision.step is not Step.CREATE:
        left.unfinished.append(f"{name}: the next step is {decision.step} ({decision.check})")
