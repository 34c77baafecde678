"""retire: after the overlap, revoke the old key on evidence and see it refused."""

from collections.abc import Collection
from datetime import datetime

import httpx
from prefect import flow
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from flows.ask import held_back, withdraw, without_an_answer
from flows.at_fleets import beside_others_on
from flows.at_provider import its_turn
from flows.at_work import asked_at, at_work, tell
from flows.audited import audited, record, record_failure
from flows.ends import A_MOMENT, ends_with_others
from flows.failures import count_failure, failures_counted
from flows.outcome import Outcome, Result, came_to
from flows.parameters import CredentialName
from keyturn import environments
from keyturn.approval import Question
from keyturn.assembly import Assembly
from keyturn.audit.record import Act
from keyturn.errors import KeyturnError, PermanentError
from keyturn.evidence import Waiver, waives_use
from keyturn.lifecycle import Asked, Step, old_keys
from keyturn.steps.observe import observe_decider
from tasks.observe import observe
from tasks.revoke import revoke

BEFORE_THE_ROLL = (Step.STOP, Step.PROMOTE, Step.VALIDATE, Step.ADOPT)
HALF_WAY = (*BEFORE_THE_ROLL, Step.ROLL, Step.PROVE)


@flow(name="retire", flow_run_name="{credential}", persist_result=False, log_prints=False)
async def retire(credential: CredentialName, now: bool = False, force: Waiver | None = None) -> Outcome:
    """Revoke the old key of the last rotation. `now`: do not wait for the overlap; the evidence is demanded all the same.

    `force`: do without some of the evidence, for this reason, which is kept; a rotation that could not be proved for want of
    it does not have to be finished first. A member that is known to serve the old key stops it all the same.
    """
    why = force.value if force is not None else "now" if now else "the overlap is over"
    async with at_work(credential) as c, audited(c, "retire", why=why), failures_counted(c):
        return came_to(c, await _retire(c, now, force))


async def _retire(c: Assembly, now: bool, force: Waiver | None) -> Outcome:
    turn = await observe(c, Asked(asked_at()))
    if not turn.seen.old_keys:
        return Outcome(c.name, Result.NOTHING, "no old key waits to be revoked")
    half_way = HALF_WAY if force is None else BEFORE_THE_ROLL
    if turn.decision.step in half_way:
        raise PermanentError(
            f"the rotation is not finished: {turn.decision.sentence}", remedy=f"run `keyturn rotate {c.name}` first"
        )
    if turn.seen.leaked_and_old:  # no overlap is waited for; the members are asked all the same
        return await _revoke(c, turn.seen.leaked_and_old, force, urgent=True, said=now)
    after = turn.seen.journal.retire_after
    if after is None and not now and force is None:
        raise PermanentError(
            "no rotation has proved the current value since",
            remedy=f"run `keyturn rotate {c.name}`, or with --now let the evidence alone decide",
        )
    watched = turn.seen.journal.watched_from is not None and not waives_use(force)
    if after is not None and c.now() < after and (watched or not now):
        if after - c.now() > A_MOMENT:
            return Outcome(c.name, Result.NOTHING, f"the overlap lasts until {after:%Y-%m-%d %H:%M:%S} UTC", after)
        await c.pause((after - c.now()).total_seconds())
    return await _revoke(c, turn.seen.old_keys, force, said=now)


async def finish(c: Assembly, *, revoke_now: bool = False, urgent: bool = False) -> Outcome:
    """The end of a rotation: revoke at once where there is no overlap left, else leave it to a run of its own. `urgent`: no
    turn at the provider is waited for.

    A revoke that fails is 'rotated, revocation pending': the rotation itself is done and served.
    """
    stages, journal = await observe_decider(c)
    old, after = old_keys(journal, stages), journal.retire_after
    if not old:
        return Outcome(c.name, Result.ROTATED, "every member serves the current key; there is no old key to revoke")
    if after is None:
        return Outcome(c.name, Result.PENDING, "another rotation has begun meanwhile, and revokes the old key")
    if not revoke_now and after > c.now():
        for each in old:  # whoever is asked has the overlap to answer, too
            await held_back(c, each)
        return Outcome(c.name, Result.ROTATED, await _schedule(c, after), after)
    return await revoke_or_leave(c, old, after, urgent=urgent)


async def revoke_or_leave(c: Assembly, old: Collection[str], after: datetime | None, *, urgent: bool) -> Outcome:
    """Revoke these old keys now. Where that fails, it is pending: a sweep comes back to it."""
    try:
        return await _revoke(c, old, urgent=urgent)
    except KeyturnError as error:
        c.say("revoke", f"pending: {error}")
        await record_failure(c, error)
        await count_failure(c, error)
        return Outcome(c.name, Result.PENDING, str(error), after)


async def _revoke(
    c: Assembly, old: Collection[str], force: Waiver | None = None, *, urgent: bool = False, said: bool = False
) -> Outcome:
    """`said`: a person wants it now, and is not asked once more."""
    asks = not said and force is None
    if asks and (waits := await _all_held_back(c, old)):
        return await _waits(c, waits)
    await its_turn(c.settings.provider, c.limits, urgent=urgent or force is Waiver.LEAKED)
    async with beside_others_on(c.fleets):
        if asks:
            if waits := await _all_held_back(c, old):  # the fleets may have been waited for, and a no have come meanwhile
                return await _waits(c, waits)
            old = [each for each in old if await held_back(c, each) is None]
        # Before: a run that is killed after the key is gone has written down that it was about to.
        why = {"why": force.value} if force else {}
        if asks and (told := await without_an_answer(c, old)):
            why = {"approval": told}
        await record(c, Act.FORCED if force else Act.REVOKING, {"texts": " ".join(old), **why})
        done = await revoke(c, tuple(old), force)
    if done.waits:
        await record(c, Act.LEFT, {"key": done.key, "sentence": done.sentence})
        return Outcome(c.name, Result.PENDING, done.sentence, by_hand=True)
    await record(
        c, Act.REVOKED if done.refused_at else Act.SETTLED, {"key": done.key, "sentence": done.sentence}, c.evidence
    )
    if c.settings.approval is not None:
        await withdraw(c.name)
    tell("revoked", c.name, key=done.key, **({"forced": force.value} if force else {}))
    result = Result.RETIRED if done.refused_at else Result.ROTATED
    return Outcome(c.name, result, done.sentence, None, done.refused_at)


async def _all_held_back(c: Assembly, old: Collection[str]) -> Question | None:
    """What is asked of the first of them, where none may be ended yet."""
    held = [await held_back(c, each) for each in old] if c.settings.approval is not None else []
    return held[0] if held and None not in held else None


async def _waits(c: Assembly, asked: Question) -> Outcome:
    """For a person, and no process does: what they say is noted beside the secret, and at its time a run comes back."""
    if asked.until is not None and asked.then == "revoke":
        await _schedule(c, asked.until + A_MOMENT)
    return Outcome(c.name, Result.PENDING, asked.sentence, asked.until, by_hand=asked.until is None)


async def _schedule(c: Assembly, at: datetime) -> str:
    """A run in the future holds no process. The same rotation asks for it once; of many together, one run asks for all."""
    if ends_with_others(at):
        c.say("retire", f"the old key is revoked after {at:%Y-%m-%d %H:%M:%S} UTC, by a sweep, with those of the others")
        return f"the old key lives until {at:%Y-%m-%d %H:%M:%S} UTC"
    deployment = f"retire/{environments.deployment(environments.named())}"
    by_hand = f"run `keyturn retire {c.name}` after {at:%Y-%m-%d %H:%M:%S} UTC"
    try:
        await arun_deployment(
            deployment,
            parameters={"credential": c.name},
            scheduled_time=at,
            timeout=0,
            as_subflow=False,
            idempotency_key=f"retire:{c.name}:{at.isoformat()}",
        )
    except ObjectNotFound:
        c.say("retire", f"there is no deployment {deployment} to do it: {by_hand}")
        return by_hand
    except httpx.HTTPError as error:
        # The rotation is done and served: that nobody could be asked to come back later does not make it a failed one.
        c.say("retire", f"Prefect took no run for it ({type(error).__name__}): {by_hand}")
        return by_hand
    c.say("retire", f"the old key is revoked after {at:%Y-%m-%d %H:%M:%S} UTC, by a run of its own")
    return f"the old key lives until {at:%Y-%m-%d %H:%M:%S} UTC"
