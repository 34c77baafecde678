"""write: stage the new value as PENDING in every secret. Nobody is served it yet."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError
from keyturn.journal import notes
from keyturn.model import CreatedKey, Look, Stage
from keyturn.ports import Pooled
from keyturn.steps.delete import drop
from keyturn.steps.observe import Turn, observe_decider
from keyturn.steps.one_look import annotate, one_look, stage
from keyturn.steps.pool import put_back
from keyturn.steps.tidy import revoke_namesakes


class SupersededError(ConflictError):
    """Another worker is ahead with this rotation. Our own key is revoked; theirs is left alone."""


async def write(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """Stage, then write down which key it is. Safe to repeat with the same key.

    Only the worker whose value was staged writes: the others' claims would name a key that nobody serves.
    """
    if key is None:
        c.say("write", "staged already")
        return
    secret, _ = c.decider
    look = await one_look(c)
    try:
        await stage(c, look, key.material, turn.rotation)
    except ConflictError:
        await _lost_the_race(c, turn, key)
    c.say("write", f"staged in {secret}")
    await claim(c, turn, key.material.fingerprint(), key.ref.id, look)
    for each, where in c.secrets[1:]:
        try:
            await where.stage(each, key.material, turn.rotation)
            c.say("write", f"staged in {each}")
        except ConflictError:
            # It has no say in which key wins. What it lacks then it is given when it has to follow.
            c.say("write", f"{each} takes no value for this rotation: it follows after the promotion")


async def claim(c: Assembly, turn: Turn, fingerprint: str, key_id: str, look: Look | None = None) -> None:
    """Write down that this rotation has staged this value, and which key it is."""
    await annotate(
        c,
        look,
        notes(
            keys={fingerprint: key_id},
            rotation=turn.rotation,
            reason=turn.asked.reason.value,
            pending_fingerprint=fingerprint,
            staged_at=c.now(),
        ),
    )


async def _lost_the_race(c: Assembly, turn: Turn, key: CreatedKey) -> None:
    """The rotation's token holds another value: a second worker's, or one that was given up."""
    secret, store = c.decider
    if isinstance(c.provider, Pooled):
        await store.spend(secret, turn.rotation)  # others have the same key for it: none of them is to come with it
    stages, journal = await observe_decider(c)
    fingerprint = key.material.fingerprint()
    # A repeat of this step may find its own key adopted, served and replaced by others meanwhile: then it is theirs.
    if fingerprint not in journal.keys and fingerprint not in [version.fingerprint for version in stages.values()]:
        if isinstance(c.provider, Pooled):
            await put_back(c, "write", key.ref)
        else:
            await drop(c, "write", key.ref, fingerprint, key.material)
        c.say("write", f"the rotation's place is taken: {key.ref.id}, which nobody serves, is not needed")
    given_up = Stage.PENDING not in stages and stages.get(Stage.CURRENT) == turn.seen.current
    if not given_up:
        raise SupersededError("another run is ahead with this rotation", remedy="let it finish; `keyturn status` shows it")
    await revoke_namesakes(c, "write", turn.label, journal)
    if journal.attempt == turn.seen.journal.attempt:
        await store.annotate(secret, notes(attempt=journal.attempt + 1))
    raise SupersededError("this rotation's id was used before and given up", remedy="run the rotation again")
