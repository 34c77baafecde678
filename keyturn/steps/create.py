"""create: unless this rotation's key is staged already, create it, named for the rotation, with a fuse."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import LostAnswerError
from keyturn.journal import notes
from keyturn.lifecycle import Step
from keyturn.model import CreatedKey, KeyRef, Stage
from keyturn.steps.observe import Turn


async def create(c: Assembly, turn: Turn) -> CreatedKey | None:
    """The new key, or None when this rotation's key is already staged.

    LostAnswerError when the key may exist and its text is lost. Repeating the step makes another one of the same name;
    `tidy` revokes the first as soon as the rotation has a winner. It is not revoked here: to this worker a key that a
    second worker is about to stage looks just the same, and a worker that was stalled between looking and revoking
    would kill a key that is in service by now.
    """
    if turn.decision.step is Step.ADOPT and await _adopt(c, turn):
        return None
    if turn.decision.step not in (Step.CREATE, Step.ADOPT):
        c.say("create", "this rotation's key is staged already")
        return None
    c.say("create", f"creating {turn.label}")
    try:
        created = await c.provider.create(turn.label, c.settings.fuse)
    except LostAnswerError:
        c.say("create", "the answer was lost: a key of this name may exist, and is revoked when the rotation has its key")
        raise
    c.say("create", f"created {created.ref.id}")
    return created


async def _adopt(c: Assembly, turn: Turn) -> bool:
    """Claim a staged value that no journal knows, if it is a key of this rotation; else clear it away."""
    secret, store = c.decider
    pending = (await store.stages(secret)).get(Stage.PENDING)
    if pending is None:
        return False
    material = await store.read(secret, pending)
    fitting: list[KeyRef] = [key for key in await c.provider.find(turn.label) if material.fits_hint(key.hint)]
    if len(fitting) != 1:
        await store.discard(secret, pending)
        c.say("create", "the staged value is no key of this rotation: cleared")
        return False
    await store.annotate(
        secret,
        notes(
            rotation=turn.rotation,
            reason=turn.asked.reason.value,
            pending_key=fitting[0].id,
            pending_fingerprint=pending.fingerprint,
            pending_since=c.now(),
        ),
    )
    c.say("create", f"the staged value is {fitting[0].id}, made by this rotation: adopted")
    return True
