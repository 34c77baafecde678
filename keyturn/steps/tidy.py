"""tidy: once a rotation has its winner, revoke every other key that bears its name."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.assembly import Assembly
from keyturn.journal import Journal
from keyturn.model import KeyRef, Stage
from keyturn.ports import Pooled
from keyturn.steps.observe import observe_decider
from keyturn.steps.pool import put_back


async def tidy(c: Assembly) -> None:
    """Revoke the keys of creates whose answers were lost, or whose run died before it could stage them.

    Safe at any time after the pivot, also for a worker that was stalled: which key CURRENT is, and the name that this key
    bears, never change; and the token of the rotation of that name is spent, so no other of its keys can be promoted.
    """
    if not c.provider.capabilities.can_list:
        return
    stages, journal = await observe_decider(c)
    current = stages.get(Stage.CURRENT)
    winner = journal.keys.get(current.fingerprint) if current else None
    keys = await c.provider.list()
    name = next((key.name for key in keys if key.id == winner), "")
    if c.mark.is_ours(name):
        await _revoke(c, "tidy", [key for key in keys if key.name == name], journal)


async def revoke_namesakes(c: Assembly, step: str, name: str, journal: Journal) -> None:
    """Every key of this name that the journal does not claim. For a rotation that was given up: its token is spent too."""
    if c.provider.capabilities.can_list:
        await _revoke(c, step, await c.provider.find(name), journal)


async def _revoke(c: Assembly, step: str, keys: Sequence[KeyRef], journal: Journal) -> None:
    for key in keys:
        if key.id in journal.keys.values():
            continue
        if isinstance(c.provider, Pooled):
            await put_back(c, step, key)
        else:
            await c.provider.revoke(key)
            c.say(step, f"{key.id} bears this rotation's name and is held nowhere: revoked")
