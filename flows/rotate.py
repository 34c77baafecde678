"""rotate: create the key, write it, prove it, promote it, roll the proxies; the old key goes when its overlap is over."""

from dataclasses import replace
from datetime import timedelta

from prefect import flow

from flows.at_provider import at_provider
from flows.at_work import asked_at, at_work, tell
from flows.audited import audited
from flows.failures import failures_counted
from flows.incident import as_it_was_begun
from flows.outcome import Outcome, Result, came_to
from flows.parameters import CredentialName, Overlap
from flows.put_off import put_off
from flows.renew import renew
from flows.retire import finish
from flows.serve_current import serve_current
from keyturn import durations
from keyturn.assembly import Adapters, Assembly
from keyturn.config import load
from keyturn.errors import ParkedError, PermanentError
from keyturn.lifecycle import Asked, Reason, Step
from keyturn.order import held_up
from keyturn.settings import CredentialSettings
from keyturn.steps.observe import Turn
from tasks.observe import observe
from tasks.preflight import preflight
from tasks.undo import undo

BEFORE_THE_PIVOT = (Step.CREATE, Step.AGAIN, Step.ADOPT, Step.VALIDATE)


@flow(name="rotate", flow_run_name="{credential}-{reason}", persist_result=False, log_prints=False)
async def rotate(
    credential: CredentialName, reason: Reason = Reason.MANUAL, overlap: Overlap | None = None, dry_run: bool = False
) -> Outcome:
    """Turn one credential's key. What an earlier run left half-way is finished first, and then nothing new is begun.

    In an incident nothing is waited for: unless told otherwise there is no overlap, and where an old key is left over from
    the rotation before, the key in service is replaced in the same run, also when that old one cannot be revoked yet.
    """
    settings = load().credential(credential)
    if reason is Reason.SCHEDULED and (until := await put_off(credential, settings.jitter)):
        return Outcome(credential, Result.NOTHING, f"put off until {until:%Y-%m-%d %H:%M:%S} UTC, by its jitter")
    return await rotate_one(credential, settings, reason, overlap, dry_run)


async def rotate_one(
    credential: str,
    settings: CredentialSettings,
    reason: Reason,
    overlap: str | None,
    dry_run: bool,
    adapters: Adapters | None = None,
) -> Outcome:
    """The same within any run. `adapters`: those of a run that has many credentials."""
    default = timedelta(0) if reason is Reason.INCIDENT else settings.overlap
    asked = Asked(asked_at(), reason, default if overlap is None else durations.parse(overlap), settings.max_age)
    wanted = {"why": reason.value, "overlap": durations.text(asked.overlap), "dry_run": "yes" if dry_run else "no"}
    async with at_work(credential, adapters) as c, audited(c, "rotate", **wanted):
        if dry_run:
            return came_to(c, await _go_on(c, await observe(c, asked), dry_run))
        async with failures_counted(c):
            turn = await as_it_was_begun(c, await observe(c, asked))
            if waits := await _in_order(c, turn):
                return came_to(c, Outcome(credential, Result.NOTHING, waits))
            go_on = replace_leaked if turn.seen.leaked or reason is Reason.INCIDENT else _go_on
            return came_to(c, await go_on(c, turn))


async def _in_order(c: Assembly, turn: Turn) -> str:
    """Why what a schedule has begun waits for the environment before, in words; "" where it does not."""
    if turn.asked.reason is not Reason.SCHEDULED or turn.decision.check != "due":
        return ""
    held = await held_up(c, turn.seen)
    if held is not None:
        c.say("order", f"{held.sentence}: goes on all the same" if held.goes_on else held.sentence)
    return held.sentence if held is not None and not held.goes_on else ""


async def replace_leaked(c: Assembly, turn: Turn) -> Outcome:
    """In an incident first: a key that is in service and not written down; where there is no room for a third key, the
    rotation that is under way; then the old key of the rotation before."""
    if turn.decision.check == "promoted_unrecorded":
        await renew(c, turn)
        turn = await observe(c, turn.asked)
    if turn.seen.ends is not None and turn.decision.step in (Step.VALIDATE, Step.ADOPT):
        # The staged text is one of the leaked one's key, which only goes as a whole: a key of its own is needed.
        await undo(c, turn, None)
        turn = await observe(c, turn.asked)
    if not turn.seen.room and turn.decision.step in (Step.ROLL, Step.PROVE):
        await serve_current(c, turn)
        turn = await observe(c, turn.asked)
    if turn.decision.check != "incident_overlap":
        return await _go_on(c, turn)
    retired = await finish(c, revoke_now=True, urgent=True)
    turn = await observe(c, replace(turn.asked, tried_to_retire=True))
    return (
        retired if turn.decision.step is Step.NOTHING or turn.decision.check in ("asking", "kept") else await _go_on(c, turn)
    )


async def _go_on(c: Assembly, turn: Turn, dry_run: bool = False) -> Outcome:
    step = turn.decision.step
    if step is Step.STOP:
        raise PermanentError(turn.decision.sentence)
    if step is Step.PARKED:
        raise ParkedError(turn.decision.sentence, remedy=f"mend what failed, then `keyturn rotate {c.name}`")
    if step in (Step.NOTHING, Step.WAIT):
        return Outcome(c.name, Result.NOTHING, turn.decision.sentence, turn.seen.journal.retire_after)
    if dry_run:
        await _first_half(c, turn, dry_run)
        return Outcome(c.name, Result.PLANNED, turn.decision.sentence)
    if step in (*BEFORE_THE_PIVOT, Step.PROMOTE):
        await _first_half(c, turn)
        tell("promoted", c.name, reason=turn.asked.reason.value, rotation=turn.rotation)
    if step is not Step.RETIRE:
        await serve_current(c, turn)
        tell("proved", c.name, rotation=turn.rotation)
    return await finish(c, urgent=_urgent(turn))


async def _first_half(c: Assembly, turn: Turn, dry_run: bool = False) -> None:
    async with at_provider(c.settings.provider, c.limits, urgent=_urgent(turn)):
        if turn.decision.step in BEFORE_THE_PIVOT:
            await preflight(c)
        if not dry_run:
            await renew(c, turn)


def _urgent(turn: Turn) -> bool:
    return turn.asked.reason is Reason.INCIDENT or turn.seen.leaked is not None
