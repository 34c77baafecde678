"""promote: the pivot. PENDING becomes CURRENT by compare-and-swap; after it the only ways are forward or a rollback."""

from __future__ import annotations

from datetime import datetime

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.journal import UNKNOWN, notes, unknown_by
from keyturn.lifecycle import Step
from keyturn.material import KeyMaterial
from keyturn.model import Look, Stage, VersionRef
from keyturn.ports import Pooled
from keyturn.steps.delete import needs_no_id
from keyturn.steps.follow import follow
from keyturn.steps.identify import key_of
from keyturn.steps.observe import Turn
from keyturn.steps.one_look import annotate, one_look, stages_and_journal, swap, text_of
from keyturn.steps.write import SupersededError


async def promote(c: Assembly, turn: Turn) -> None:
    """Swap in every secret, the deciding one first, then write down what is current and what is to be retired.

    Safe to repeat, also after a swap whose answer was lost: what is CURRENT already is left alone. Only the value that
    this rotation staged is promoted, since that is the one that was validated. ConflictError when a person changed
    CURRENT meanwhile; SupersededError when PENDING is another rotation's.
    """
    secret, _ = c.decider
    look = await one_look(c)
    after: Look | None = None
    stages, journal = await stages_and_journal(c, look)
    current, pending = stages.get(Stage.CURRENT), stages.get(Stage.PENDING)
    if current is None:
        raise NotFoundError("the secret has no current value any more", remedy="put the key in use today back")
    if turn.decision.step is not Step.PROMOTE and current == turn.seen.current:
        if pending is None:
            raise NotFoundError("the staged value is gone", remedy="run the rotation again")
        if pending.id != turn.rotation or pending.fingerprint not in journal.keys:
            raise SupersededError("another run has staged a key meanwhile", remedy="let it finish, or run again")
        after = await swap(c, look, pending, current)
        c.say("promote", f"{secret} is now the new key")
        current, promoted_at = pending, c.now()
    elif current.fingerprint not in journal.keys:
        raise ConflictError("somebody changed the current value meanwhile", remedy="look who did, then run again")
    else:
        # Somebody else's swap. That it was after a call is only believed where even its staging was: an incident must not
        # take a key for a new one that has been in service for a while, unrecorded.
        known = journal.pending_fingerprint == current.fingerprint
        promoted_at = journal.staged_at if known and journal.staged_at else c.now()
    await follow(c, current)
    await write_down(c, turn.asked.reason.value, current, promoted_at, None if c.secrets[1:] else after)


async def write_down(c: Assembly, reason: str, new: VersionRef, promoted_at: datetime, look: Look | None = None) -> None:
    """Which value the times of the journal are about from now on, and which key it has replaced.

    `look`: one that shows it promoted, with nothing waited for since.
    """
    look = look or await one_look(c)
    stages, journal = await stages_and_journal(c, look)
    if journal.current_fingerprint == new.fingerprint or stages.get(Stage.CURRENT) != new:
        c.say("promote", "already promoted, and written down")
        return
    old = stages.get(Stage.PREVIOUS)
    displaced: dict[str, str] = {}
    if old is not None and (turned := journal.turned_from(old.fingerprint)) is not None:
        displaced = {old.fingerprint: turned.key}  # which has another text by now, and so cannot be told by its own
    elif old is not None and (leaked := journal.leaked_as(old.fingerprint)) is not None and leaked.key:
        displaced = {old.fingerprint: leaked.key}  # which may be gone by now, and with it what it could be told by
    elif old is not None and old.fingerprint not in journal.keys:
        material = await text_of(c, look, old)
        key = await key_of(c, material)
        look = None  # the provider was waited for
        displaced = {old.fingerprint: key.id if key else _unknown(c, material)}
        if key is None and not needs_no_id(c):
            c.say("promote", "the old key could not be matched to a key at the provider: it will have to be deleted by hand")
    await annotate(
        c,
        look,
        notes(
            keys=displaced,
            current_fingerprint=new.fingerprint,
            promoted_at=promoted_at,
            reason=reason,
            back_from=journal.back_from if old is not None and old.fingerprint == journal.back_from else None,
            pending_fingerprint=None,
            staged_at=None,
            rolled_at=None,
            proved_at=None,
            proof=None,
            retire_after=None,
            watched_from=None,
            retired_at=None,
        ),
    )


def _unknown(c: Assembly, material: KeyMaterial) -> str:
    """Where a person may be asked to delete it, they are to find it also when its text is held no longer."""
    return unknown_by(material.last_four()) if isinstance(c.provider, Pooled) else UNKNOWN
