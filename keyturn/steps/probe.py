"""probe: whether the key in service lives, by the provider's own check. It decides nothing, and changes nothing.

Only the key in service is tried: a check may count as a use, and a use of the old key keeps that from being revoked.
"""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import Journal
from keyturn.model import Judgement, Verdict

SECOND_LOOK_AFTER = 6.0  # seconds


async def probe(c: Assembly, journal: Journal) -> Judgement:
    """REJECTED: dead, asked twice, and still in service. INDETERMINATE: everything that is not known to be one or the other:
    a limit was reached, no answer, a fresh key within its propagation budget, one that was replaced meanwhile."""
    if not c.provider.capabilities.can_check:
        return Judgement(Verdict.INDETERMINATE, "the provider has no check of its own")
    secret, store = c.decider
    try:
        held = await store.current(secret)
        found = await c.provider.check(held.material)
        if found.verdict is not Verdict.REJECTED:
            return found
        fresh = journal.promoted_at is not None and c.now() < journal.promoted_at + c.propagation
        if fresh:
            return Judgement(Verdict.INDETERMINATE, f"it is new, and not known everywhere yet: {found.reason}")
        await c.pause(SECOND_LOOK_AFTER)
        again = await store.current(secret)
        if again.version != held.version:
            return Judgement(Verdict.INDETERMINATE, "it was replaced meanwhile")
        return await c.provider.check(again.material)
    except KeyturnError as error:
        return Judgement(Verdict.INDETERMINATE, error.message)
