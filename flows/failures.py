"""Runs that fail are counted with the credential: so a sweep knows when to try again, and when to leave it to a person."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flows.at_work import tell
from flows.audited import record
from keyturn.assembly import Assembly
from keyturn.audit.record import Act
from keyturn.errors import KeyturnError, ParkedError
from keyturn.steps.failure import note_failure
from keyturn.steps.write import SupersededError


@asynccontextmanager
async def failures_counted(c: Assembly) -> AsyncIterator[None]:
    """Count what the block raises. That another run is ahead, or that nothing was tried, is no failure."""
    try:
        yield
    except (SupersededError, ParkedError):
        raise
    except KeyturnError as error:
        await count_failure(c, error)
        raise


async def count_failure(c: Assembly, error: KeyturnError) -> None:
    """Where not even this can be written down, the store is what fails: the next look finds that out by itself."""
    try:
        parked = await note_failure(c, error)
    except KeyturnError as other:
        c.say("failure", f"could not be counted: {other.message}")
        return
    if parked:
        c.say("failure", f"parked: {parked}")
        await record(c, Act.PARKED, {"why": parked})
        tell("parked", c.name, reason=parked)
