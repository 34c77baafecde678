"""tidy: once a rotation has its winner, revoke every other key that bears its name."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.journal import Journal
from keyturn.model import Stage


async def tidy(c: Assembly) -> None:
    """Revoke the keys of creates whose answers were lost, or whose run died before it could stage them.

    Safe at any time after the pivot, also for a worker that was stalled: the rotation's token is spent, so none of these
    can be promoted any more, and the id of its winner never changes.
    """
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    current = (await store.stages(secret)).get(Stage.CURRENT)
    ours = current is not None and current.fingerprint == journal.current_fingerprint
    if not ours or not journal.rotation or not journal.current_key or not c.provider.capabilities.can_list:
        return
    for key in await c.provider.find(c.mark.label(journal.rotation)):
        if key.id != journal.current_key:
            await c.provider.revoke(key)
            c.say("tidy", f"{key.id} bears this rotation's name and is held nowhere: revoked")
