"""rotate: create the key, write it, prove it, promote it, roll the proxies; the old key goes when its overlap is over."""

from dataclasses import replace
from datetime import timedelta

from prefect import flow

from flows.at_work import asked_at, at_work, tell
from flows.outcome import Outcome, Result
from flows.parameters import CredentialName, Overlap
from flows.retire import finish
from flows.turnstile import alone_on
from keyturn import durations
from keyturn.assembly import Assembly
from keyturn.config import load
from keyturn.errors import KeyturnError, PermanentError
from keyturn.lifecycle import Asked, Reason, Step
from keyturn.model import CreatedKey
from keyturn.steps.observe import Turn
from keyturn.steps.write import SupersededError
from tasks.create import create
from tasks.observe import observe
from tasks.preflight import preflight
from tasks.promote import promote
from tasks.prove import prove
from tasks.roll import roll
from tasks.tidy import tidy
from tasks.undo import undo
from tasks.validate import validate
from tasks.write import write


@flow(name="rotate", flow_run_name="{credential}-{reason}", persist_result=False, log_prints=False)
async def rotate(
    credential: CredentialName, reason: Reason = Reason.MANUAL, overlap: Overlap | None = None, dry_run: bool = False
) -> Outcome:
    """Turn one credential's key. What an earlier run left half-way is finished first, and then nothing new is begun.

    In an incident nothing is waited for: unless told otherwise there is no overlap, and where an old key is left over from
    the rotation before, the key in service is replaced in the same run, also when that old one cannot be revoked yet.
    """
    settings = load().credential(credential)
    default = timedelta(0) if reason is Reason.INCIDENT else settings.overlap
    asked = Asked(asked_at(), reason, default if overlap is None else durations.parse(overlap), settings.max_age)
    async with at_work(credential) as c:
        turn = await observe(c, asked)
        if reason is Reason.INCIDENT and not dry_run:
            return await _respond(c, turn)
        return await _go_on(c, turn, dry_run)


async def _respond(c: Assembly, turn: Turn) -> Outcome:
    """In an incident first: a key that is in service and not written down, then the old key of the rotation before."""
    if turn.decision.check == "promoted_unrecorded":
        await renew(c, turn)
        turn = await observe(c, turn.asked)
    if turn.decision.check != "incident_overlap":
        return await _go_on(c, turn)
    retired = await finish(c, revoke_now=True)
    turn = await observe(c, replace(turn.asked, tried_to_retire=True))
    return retired if turn.decision.step is Step.NOTHING else await _go_on(c, turn)


async def _go_on(c: Assembly, turn: Turn, dry_run: bool = False) -> Outcome:
    step = turn.decision.step
    if step is Step.STOP:
        raise PermanentError(turn.decision.sentence)
    if step in (Step.NOTHING, Step.WAIT):
        return Outcome(c.name, Result.NOTHING, turn.decision.sentence, turn.seen.journal.retire_after)
    if step in (Step.CREATE, Step.ADOPT, Step.VALIDATE):
        await preflight(c)
    if dry_run:
        return Outcome(c.name, Result.PLANNED, turn.decision.sentence)
    if step in (Step.CREATE, Step.ADOPT, Step.VALIDATE, Step.PROMOTE):
        await renew(c, turn)
        tell("promoted", c.name, reason=turn.asked.reason.value, rotation=turn.rotation)
    if step is not Step.RETIRE:
        async with alone_on(c.fleets):
            await roll(c)
            await _tidy_quietly(c)
            await prove(c, turn.asked.overlap)
        tell("proved", c.name, rotation=turn.rotation)
    return await finish(c)


async def renew(c: Assembly, turn: Turn) -> None:
    """Up to the pivot. A failure that will not go away by itself is undone; one that may is left for the next run."""
    key: CreatedKey | None = None
    written = False
    try:
        key = await create(c, turn)
        await write(c, turn, key)
        written = True
        if turn.decision.step is not Step.PROMOTE:
            await validate(c, turn)
        await promote(c, turn)
    except SupersededError:
        raise
    except KeyturnError as error:
        # What may pass is left for the next run: it adopts what was staged, and tells what was not by its name. Only where
        # keys cannot be listed is this the last moment at which anybody knows of the key.
        nameless = key is not None and not written and not c.provider.capabilities.can_list
        if isinstance(error, PermanentError) or nameless:
            await _undo_quietly(c, turn, key)
        raise


async def _tidy_quietly(c: Assembly) -> None:
    """The new key is served: what could not be tidied up beside it is a stray, and fails no rotation."""
    try:
        await tidy(c)
    except KeyturnError as error:
        c.say("tidy", f"not finished, and left to the sweep: {error.message}")


async def _undo_quietly(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """The failure that led here is the one to report; what undo could not do, the next run does."""
    try:
        await undo(c, turn, key)
    except KeyturnError as error:
        c.say("undo", f"not finished, and left for the next run: {error.message}")
