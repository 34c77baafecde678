"""promote: the pivot. PENDING becomes CURRENT by compare-and-swap; after it the only ways are forward or a rollback."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.journal import Journal, notes
from keyturn.model import KeyRef, SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.steps.observe import Turn


async def promote(c: Assembly, turn: Turn) -> None:
    """Swap in every secret, the deciding one first, then write down what is current and what is to be retired.

    Safe to repeat, also after a swap whose answer was lost: what is CURRENT already is left alone.
    """
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    stages = await store.stages(secret)
    current = stages.get(Stage.CURRENT)
    if current is None:
        raise NotFoundError("the secret has no current value any more", remedy="put the key in use today back")
    if current.fingerprint == journal.current_fingerprint and not journal.pending_fingerprint:
        c.say("promote", "already promoted")
        return
    if current.fingerprint == journal.pending_fingerprint:
        new, old = current, stages.get(Stage.PREVIOUS)
    else:
        if turn.seen.current is not None and current != turn.seen.current:
            raise ConflictError("somebody changed the current value meanwhile", remedy="look who did, then run again")
        pending = stages.get(Stage.PENDING)
        if pending is None or pending.fingerprint != journal.pending_fingerprint:
            raise NotFoundError("the staged value is gone", remedy="run the rotation again")
        new, old = pending, current
        await store.promote(secret, new, current)
        c.say("promote", f"{secret} is now the new key")
    for each, where in c.secrets[1:]:
        await _follow(c, each, where, new)
    await _write_down(c, journal, new, old)


async def _follow(c: Assembly, secret: SecretRef, store: SecretStore, new: VersionRef) -> None:
    """A further secret has no say: it is brought to what the deciding one already holds."""
    stages = await store.stages(secret)
    current = stages.get(Stage.CURRENT)
    if current == new:
        return
    pending = stages.get(Stage.PENDING)
    if current is None or pending != new:
        raise ConflictError(f"{secret} does not hold the new key", remedy="run again: it is staged there anew")
    await store.promote(secret, pending, current)
    c.say("promote", f"{secret} is now the new key")


async def _write_down(c: Assembly, journal: Journal, new: VersionRef, old: VersionRef | None) -> None:
    secret, store = c.decider
    if Journal.parse(await store.annotations(secret)).pending_fingerprint != new.fingerprint:
        c.say("promote", "another run has written it down meanwhile")
        return
    fingerprint = old.fingerprint if old else journal.current_fingerprint
    old_key = journal.current_key if journal.current_fingerprint == fingerprint else await _by_hint(c, secret, store, old)
    if not old_key:
        c.say("promote", "the old key could not be matched to a key at the provider: it will have to be deleted by hand")
    await store.annotate(
        secret,
        notes(
            current_key=journal.pending_key,
            current_fingerprint=new.fingerprint,
            previous_key=old_key,
            previous_fingerprint=fingerprint,
            promoted_at=c.now(),
            pending_key=None,
            pending_fingerprint=None,
            pending_since=None,
            rolled_at=None,
            proved_at=None,
            retire_after=None,
            retired_at=None,
        ),
    )


async def _by_hint(c: Assembly, secret: SecretRef, store: SecretStore, old: VersionRef | None) -> str:
    """The id of the one key whose redacted form fits the old value; "" when none fits, or more than one does."""
    if old is None or not c.provider.capabilities.can_list:
        return ""
    material = await store.read(secret, old)
    fitting: list[KeyRef] = [key for key in await c.provider.list() if material.fits_hint(key.hint)]
    return fitting[0].id if len(fitting) == 1 else ""
