"""A run failed: count it, and park the credential when too many in a row did."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import Journal, notes, words


async def note_failure(c: Assembly, error: KeyturnError) -> str:
    """Write down how the run failed. Why the credential is parked from now on, in words; empty where it is not.

    Nothing but the next beginning by itself hangs on this note: `prove` takes it away, and a person's run does not ask.
    """
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    count, how = journal.failures + 1, words(error.message)
    parks = count >= c.patience.park_after and not journal.parked
    parked = words(f"{count} runs in a row failed: {how}") if parks else ""
    failure = notes(failures=count, failed_at=c.now(), failure=how)
    await store.annotate(secret, {**failure, **notes(parked=parked)} if parks else failure)
    return parked
