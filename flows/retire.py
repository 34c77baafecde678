"""retire: after the overlap, revoke the old key on evidence and see it refused."""

from collections.abc import Collection
from datetime import datetime, timedelta

import httpx
from prefect import flow
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from flows.at_provider import its_turn
from flows.at_work import asked_at, at_work, tell
from flows.failures import count_failure, failures_counted
from flows.outcome import Outcome, Result
from flows.parameters import CredentialName
from flows.turnstile import alone_on
from keyturn import environments
from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, PermanentError
from keyturn.evidence import Waiver, waives_use
from keyturn.lifecycle import Asked, Step, old_keys
from keyturn.steps.observe import observe_decider
from tasks.observe import observe
from tasks.revoke import revoke

A_MOMENT = timedelta(seconds=5)  # a run that is scheduled for the end of an overlap may be started somewhat before
BEFORE_THE_ROLL = (Step.STOP, Step.PROMOTE, Step.VALIDATE, Step.ADOPT)
HALF_WAY = (*BEFORE_THE_ROLL, Step.ROLL, Step.PROVE)


@flow(name="retire", flow_run_name="{credential}", persist_result=False, log_prints=False)
async def retire(credential: CredentialName, now: bool = False, force: Waiver | None = None) -> Outcome:
    """Revoke the old key of the last rotation. `now`: do not wait for the overlap; the evidence is demanded all the same.

    `force`: do without some of the evidence, for this reason, which is kept; a rotation that could not be proved for want of
    it does not have to be finished first. A member that is known to serve the old key stops it all the same.
    """
    async with at_work(credential) as c, failures_counted(c):
        turn = await observe(c, Asked(asked_at()))
        if not turn.seen.old_keys:
            return Outcome(credential, Result.NOTHING, "no old key waits to be revoked")
        half_way = HALF_WAY if force is None else BEFORE_THE_ROLL
        if turn.decision.step in half_way:
            raise PermanentError(
                f"the rotation is not finished: {turn.decision.sentence}", remedy=f"run `keyturn rotate {credential}` first"
            )
        after = turn.seen.journal.retire_after
        if after is None and not now and force is None:
            raise PermanentError(
                "no rotation has proved the current value since",
                remedy=f"run `keyturn rotate {credential}`, or with --now let the evidence alone decide",
            )
        watched = turn.seen.journal.watched_from is not None and not waives_use(force)
        if after is not None and c.now() < after and (watched or not now):
            if after - c.now() > A_MOMENT:
                return Outcome(credential, Result.NOTHING, f"the overlap lasts until {after:%Y-%m-%d %H:%M:%S} UTC", after)
            await c.pause((after - c.now()).total_seconds())
        return await _revoke(c, turn.seen.old_keys, force)


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
        return Outcome(c.name, Result.ROTATED, await _schedule(c, after), after)
    try:
        return await _revoke(c, old, urgent=urgent)
    except KeyturnError as error:
        c.say("revoke", f"pending: {error}")
        await count_failure(c, error)
        return Outcome(c.name, Result.PENDING, str(error), after)


async def _revoke(c: Assembly, old: Collection[str], force: Waiver | None = None, *, urgent: bool = False) -> Outcome:
    await its_turn(c.settings.provider, c.limits, urgent=urgent or force is Waiver.LEAKED)
    async with alone_on(c.fleets):
        done = await revoke(c, tuple(old), force)
    if done.waits:
        return Outcome(c.name, Result.PENDING, done.sentence, by_hand=True)
    tell("revoked", c.name, key=done.key, **({"forced": force.value} if force else {}))
    result = Result.RETIRED if done.refused_at else Result.ROTATED
    return Outcome(c.name, result, done.sentence, None, done.refused_at)


async def _schedule(c: Assembly, at: datetime) -> str:
    """A run in the future holds no process. The same rotation asks for it once."""
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
