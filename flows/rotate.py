"""rotate: create the key, write it, prove it, promote it, roll the proxies; the old key goes when its overlap is over."""

from prefect import flow

from flows.at_work import asked_at, at_work, tell
from flows.outcome import Outcome, Result
from flows.parameters import CredentialName, Overlap
from flows.retire import finish
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
    """Turn one credential's key. What an earlier run left half-way is finished first, and then nothing new is begun."""
    settings = load().credential(credential)
    wait = settings.overlap if overlap is None else durations.parse(overlap)
    async with at_work(credential) as c:
        turn = await observe(c, Asked(asked_at(), reason, wait, settings.max_age))
        if turn.decision.step is Step.STOP:
            raise PermanentError(turn.decision.sentence)
        if turn.decision.step in (Step.NOTHING, Step.WAIT):
            return Outcome(credential, Result.NOTHING, turn.decision.sentence, turn.seen.journal.retire_after)
        if turn.decision.step in (Step.CREATE, Step.ADOPT, Step.VALIDATE):
            await preflight(c)
        if dry_run:
            return Outcome(credential, Result.PLANNED, turn.decision.sentence)
        if turn.decision.step in (Step.CREATE, Step.ADOPT, Step.VALIDATE, Step.PROMOTE):
            await renew(c, turn)
            tell("promoted", credential, reason=reason.value, rotation=turn.rotation)
        if turn.decision.step is not Step.RETIRE:
            await tidy(c)
            await roll(c)
            await prove(c, wait)
            tell("proved", credential, rotation=turn.rotation)
        return await finish(c, revoke_now=turn.decision.check == "incident_overlap")


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
        # Before it is written a key lives in this process alone: it is worth nothing to the next run.
        if isinstance(error, PermanentError) or (key is not None and not written):
            await _undo_quietly(c, turn, key)
        raise


async def _undo_quietly(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """The failure that led here is the one to report; what undo could not do, the next run does."""
    try:
        await undo(c, turn, key)
    except KeyturnError as error:
        c.say("undo", f"not finished, and left for the next run: {error.message}")
