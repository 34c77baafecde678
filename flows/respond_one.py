"""What an incident does with one credential: note it, end the leaked key first where that is wished, replace it, end it."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flows.ask import held_back
from flows.at_fleets import one_of_the_company
from flows.at_work import at_work
from flows.audited import audited
from flows.failures import failures_counted
from flows.incident import end_first
from flows.outcome import Outcome, Result, came_to
from flows.renew import renew
from flows.retire import revoke_or_leave
from flows.rotate import replace_leaked
from flows.serve_current import serve_current
from keyturn import faults
from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, KeyturnError, NotFoundError
from keyturn.incident_report import Account
from keyturn.lifecycle import Asked, Reason, Step, is_promoted_since, old_keys
from keyturn.model import Stage
from keyturn.requests_meanwhile import watched
from keyturn.steps.observe import Turn, observe_decider
from keyturn.steps.revoke_first import RevokedFirst
from tasks.observe import observe
from tasks.report_leak import report_leak
from tasks.undo import undo


@dataclass(frozen=True, slots=True)
class Leak:
    """What was called for, and when. `first`: the key is revoked before it has a successor. `fingerprint`: of the leaked
    key; "" for the one in service."""

    credential: str
    at: datetime
    first: bool
    fingerprint: str = ""


async def respond_one(leak: Leak) -> tuple[Outcome, Account]:
    """Raises nothing: whatever happens to this credential is its own outcome, and no other waits for it."""
    with one_of_the_company(leak.credential):
        return await _accounted(leak, Account(leak.credential, leak.at, leak.first))


async def _accounted(leak: Leak, account: Account) -> tuple[Outcome, Account]:
    try:
        wanted = {"why": Reason.INCIDENT.value, "first": "revoke" if leak.first else "prove", "leaked": leak.fingerprint}
        async with at_work(leak.credential) as c, audited(c, "respond", **wanted), watched(c) as requests:
            account.requests = requests
            try:
                async with failures_counted(c):
                    outcome = came_to(c, await _respond(c, leak, account))
            except Exception:  # whoever is cancelled asks nobody anything more
                await _note_promotion(c, leak, account)
                raise
            await _note_promotion(c, leak, account)
    except KeyturnError as error:
        outcome = _stopped(leak, account, str(error))
    except Exception as error:
        outcome = _stopped(leak, account, f"a fault of keyturn's: {faults.describe(error)}")
    account.result, account.sentence = outcome.result, outcome.sentence
    account.refused_at = outcome.old_key_refused_at or account.refused_at
    return outcome, account


async def _respond(c: Assembly, leak: Leak, account: Account) -> Outcome:
    asked = Asked(leak.at, Reason.INCIDENT, timedelta(0), c.settings.max_age)
    turn = await observe(c, asked)
    if turn.decision.check == "promoted_unrecorded":
        await renew(c, turn)
        turn = await observe(c, asked)
    current, previous, ended = turn.seen.current, turn.seen.stages.get(Stage.PREVIOUS), RevokedFirst(False)
    if leak.fingerprint and (current is None or current.fingerprint != leak.fingerprint):
        return await _end_another(c, leak, turn)
    if current is not None and (leak.fingerprint or not is_promoted_since(turn.seen, leak.at)):
        noted = await report_leak(c, current.fingerprint, leak.at, first=leak.first)
        if noted:
            ended = await _end_first(c, leak, current.fingerprint)
        if leak.first:
            account.refused_at = ended.refused_at  # also where the rest fails
        if leak.first or leak.fingerprint:
            # The one that was reported is not kept waiting by one that is older.
            turn = await observe(c, replace(asked, tried_to_retire=ended.done))
    elif previous is not None and previous.fingerprint in turn.seen.old_keys and c.settings.approval is not None:
        # Another rotation came between the call and this run: what was in service then is old by now, and is asked about.
        await report_leak(c, previous.fingerprint, leak.at, first=leak.first)
    return _with(ended, await _settled(c, leak, await replace_leaked(c, turn)))


async def _end_first(c: Assembly, leak: Leak, fingerprint: str) -> RevokedFirst:
    """Where that is wished, and nobody has to be asked. Who is asked is asked now, for both policies: until they answer the
    new key is made and rolled, which ends nothing."""
    question = await held_back(c, fingerprint)
    if not leak.first:
        return RevokedFirst(False)
    if question is None:
        return await end_first(c, fingerprint)
    c.say("approve", "it is not revoked first yet: the new key is made meanwhile")
    return RevokedFirst(False, sentence="it was not revoked first: that waited for a person")


async def _end_another(c: Assembly, leak: Leak, turn: Turn) -> Outcome:
    """It is not the key in service that has leaked: that one stays, and nothing is rotated."""
    pending = turn.seen.stages.get(Stage.PENDING)
    if pending is not None and pending.fingerprint == leak.fingerprint and await undo(c, turn, None):
        return Outcome(c.name, Result.ROTATED, "the leaked key was staged and served by nobody: it is given up, and revoked")
    if leak.fingerprint not in turn.seen.old_keys:
        raise NotFoundError(
            "no key of this fingerprint is in service, nor known as an old one",
            remedy=f"it may be refused already; `keyturn respond {c.name}` without it replaces the key in service",
        )
    ended = RevokedFirst(False)
    noted = await report_leak(c, leak.fingerprint, leak.at, first=leak.first)
    if noted:
        ended = await _end_first(c, leak, leak.fingerprint)
    elif c.settings.approval is not None:
        raise ConflictError(
            "a person is asked about one leaked key at a time, and the key in service was reported, too",
            remedy="run the same again when that one has a successor",
        )
    elif leak.first:  # what is refused, and nobody knows why, nobody would make good
        ended = RevokedFirst(False, sentence="it was not revoked first: the key in service was reported, too")
    if turn.decision.step in (Step.ROLL, Step.PROVE):
        await serve_current(c, turn)
    return _with(ended, await revoke_or_leave(c, (leak.fingerprint,), None, urgent=True))


def _with(ended: RevokedFirst, outcome: Outcome) -> Outcome:
    """When it was refused first, and why it could not be."""
    sentence = f"{outcome.sentence}; {ended.sentence}" if ended.sentence else outcome.sentence
    return replace(outcome, sentence=sentence, old_key_refused_at=ended.refused_at or outcome.old_key_refused_at)


async def _settled(c: Assembly, leak: Leak, outcome: Outcome) -> Outcome:
    """A run that is repeated finds nothing to do: the old key was refused by then."""
    if outcome.result is not Result.NOTHING:
        return outcome
    stages, journal = await observe_decider(c)
    retired = journal.retired_at
    if retired is None or retired < leak.at.replace(microsecond=0) or old_keys(journal, stages):
        return outcome
    return replace(outcome, result=Result.RETIRED, old_key_refused_at=retired)


async def _note_promotion(c: Assembly, leak: Leak, account: Account) -> None:
    """For the report: whether, and when, a key was promoted since the call. Left out where the store does not tell."""
    with suppress(KeyturnError):
        _, journal = await observe_decider(c)
        promoted = journal.promoted_at
        if promoted is not None and promoted >= leak.at.replace(microsecond=0):
            account.promoted_at = promoted


def _stopped(leak: Leak, account: Account, sentence: str) -> Outcome:
    return Outcome(leak.credential, Result.STOPPED if account.promoted_at is None else Result.UNFINISHED, sentence)
