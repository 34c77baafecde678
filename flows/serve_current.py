"""The second half of a rotation: roll the members onto CURRENT, and prove it; or, where they do not take it, go back."""

from datetime import timedelta
from functools import partial
from typing import NoReturn

from flows.at_fleets import alone_on, alone_unless, company_of
from flows.at_work import tell
from flows.audited import record
from keyturn.assembly import Assembly
from keyturn.audit.record import Act
from keyturn.errors import KeyturnError, RolledBackError, RollFailedError
from keyturn.lifecycle import Reason
from keyturn.steps.observe import Turn
from keyturn.steps.roll import is_rolled
from tasks.prove import prove
from tasks.roll import roll
from tasks.take_back import take_back
from tasks.tidy import tidy

# A key that was taken back is tried again before it is revoked, however short its overlap would have been.
KEPT_TO_TRY_AGAIN = timedelta(days=1)


async def serve_current(c: Assembly, turn: Turn) -> None:
    """Every member serves CURRENT, and has proved it. RolledBackError where one did not take it."""
    await company_of(c.name, c.fleets)
    async with alone_unless(c.fleets, partial(is_rolled, c)) as at_fleets:
        failed = await _rolled(c, turn)
        if failed is None:
            at_fleets.share()
            failed = await _proved(c, turn)
        elif at_fleets.alone:  # with nobody waited for: a member serves what it did not take
            await _go_back(c, turn, failed)
    if failed is not None:
        async with alone_on(c.fleets):
            await _go_back(c, turn, failed)


async def _rolled(c: Assembly, turn: Turn) -> RollFailedError | None:
    try:
        await roll(c, past_the_moved=_in_incident(turn))
    except RollFailedError as error:
        return error
    await record(c, Act.ROLLED)
    return None


async def _proved(c: Assembly, turn: Turn) -> RollFailedError | None:
    await _tidy_quietly(c)
    try:
        await prove(c, turn.asked.overlap)
    except RollFailedError as error:
        return error
    await record(c, Act.PROVED, evidence=c.evidence)
    return None


async def serve_previous(c: Assembly, overlap: timedelta) -> None:
    """After `take_back`: every member that can be moved is, also past one that cannot."""
    await roll(c, to_the_end=True)
    await record(c, Act.ROLLED)
    await prove(c, overlap)
    await record(c, Act.PROVED, evidence=c.evidence)


async def _go_back(c: Assembly, turn: Turn, error: RollFailedError) -> NoReturn:
    """The new key is kept, and tried again by a later run. Where the way back is not open, forward is the only one left."""
    if turn.decision.check == "drifted":
        raise error  # the key was proved before: it is the member that has changed
    if _in_incident(turn):
        c.say("rollback", "not to a key that may have leaked: the next run goes on forward")
        raise error
    try:
        await take_back(c, error.message)
        await record(c, Act.ROLLED_BACK, {"why": error.message})
        await serve_previous(c, max(turn.asked.overlap, KEPT_TO_TRY_AGAIN))
    except KeyturnError as other:
        c.say("rollback", f"not finished: {other.message}")
        raise RollFailedError(
            f"{error.message}; and going back was not finished: {other.message}", remedy=error.remedy or other.remedy
        ) from None
    tell("rolled_back", c.name, rotation=turn.rotation)
    raise RolledBackError(
        f"{error.message}; the previous key is served again by every member",
        remedy=f"mend the member, then `keyturn rotate {c.name}`: it tries the same key again",
    ) from None


def _in_incident(turn: Turn) -> bool:
    """Whether the key before may have leaked: also for a run that nobody called for, and finishes what such a one began."""
    resumed = turn.decision.check in ("unrolled", "unproved")
    return Reason.INCIDENT in (turn.asked.reason, turn.seen.journal.reason if resumed else "")


async def _tidy_quietly(c: Assembly) -> None:
    """The new key is served: what could not be tidied up beside it is a stray, and fails no rotation."""
    try:
        await tidy(c)
    except KeyturnError as error:
        c.say("tidy", f"not finished, and left to the sweep: {error.message}")
