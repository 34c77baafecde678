"""undo: before the pivot a failed rotation leaves nothing behind."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.journal import Journal, notes
from keyturn.model import CreatedKey, KeyRef, Stage
from keyturn.steps.observe import Turn


async def undo(c: Assembly, turn: Turn, key: CreatedKey | None) -> bool:
    """Discard this rotation's PENDING everywhere, then revoke its key. False, and nothing is revoked, when the key was
    promoted after all.

    The order is the fence: after `discard` no promote of that version can succeed, so the key that dies next is one that
    nobody can come to serve. Only a key whose text this run holds, or whose staged value it has just discarded, is revoked.
    """
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    doomed = {key.material.fingerprint(): key.ref.id} if key else {}
    if journal.rotation == turn.rotation and journal.pending_fingerprint:
        doomed[journal.pending_fingerprint] = journal.pending_key
    for each, where in c.secrets:
        pending = (await where.stages(each)).get(Stage.PENDING)
        if pending is not None and pending.fingerprint in doomed:
            await where.discard(each, pending)
    current = (await store.stages(secret)).get(Stage.CURRENT)
    if current is not None and current.fingerprint in doomed:
        c.say("undo", "the new key was promoted after all: nothing is undone")
        return False
    for key_id in filter(None, doomed.values()):
        await c.provider.revoke(KeyRef(key_id, turn.label))
        c.say("undo", f"revoked {key_id}, which nobody serves")
    await store.annotate(
        secret, notes(attempt=journal.attempt + 1, pending_key=None, pending_fingerprint=None, pending_since=None)
    )
    c.say("undo", "given up; the key in service is untouched")
    return True
