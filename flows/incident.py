"""An incident that another run began: whoever comes by goes on with it as it was meant, with no overlap and no way back."""

from dataclasses import replace
from datetime import timedelta

from flows.ask import held_back
from flows.audited import record, record_failure
from keyturn.assembly import Assembly
from keyturn.audit.record import Act
from keyturn.errors import KeyturnError
from keyturn.lifecycle import Reason
from keyturn.steps.observe import Turn
from keyturn.steps.revoke_first import RevokedFirst
from tasks.observe import observe
from tasks.revoke_first import revoke_first

_HALF_WAY = ("staged", "promoted_unrecorded", "unrolled", "unproved")


async def as_it_was_begun(c: Assembly, turn: Turn) -> Turn:
    """The turn of an incident, where one was reported and is not over; else this turn, as it is."""
    leaked = turn.seen.leaked
    if leaked is not None:
        if leaked.first and not await held_back(c, leaked.text):
            await end_first(c, leaked.text)
        asked = replace(turn.asked, at=leaked.at, reason=Reason.INCIDENT, overlap=timedelta(0), tried_to_retire=leaked.first)
        return await observe(c, asked)
    if turn.decision.check in _HALF_WAY and turn.seen.journal.reason == Reason.INCIDENT != turn.asked.reason:
        return replace(turn, asked=replace(turn.asked, reason=Reason.INCIDENT, overlap=timedelta(0)))
    return turn


async def end_first(c: Assembly, fingerprint: str) -> RevokedFirst:
    """Have a leaked key refused. That this fails is no reason to put off its successor: it goes when that is served."""
    why = {"texts": fingerprint, "why": "it has leaked, and goes before it has a successor"}
    await record(c, Act.REVOKING, why)
    try:
        ended = await revoke_first(c, fingerprint)
    except KeyturnError as error:
        await record_failure(c, error)
        sentence = f"it could not be revoked first: {error.message}"
        c.say("revoke_first", f"{sentence}. It goes as soon as every member is proved")
        return RevokedFirst(False, sentence=sentence)
    act = Act.REVOKED if ended.refused_at else Act.SETTLED if ended.done else Act.REFUSED
    await record(c, act, {**why, "sentence": ended.sentence})
    return ended
