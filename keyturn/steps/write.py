"""write: stage the new value as PENDING in every secret. Nobody is served it yet."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError
from keyturn.journal import notes
from keyturn.model import CreatedKey, Stage
from keyturn.steps.observe import Turn


class SupersededError(ConflictError):
    """Another worker is ahead with this rotation. Our own key is revoked; theirs is left alone."""


async def write(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """Stage, then write down which key it is. Safe to repeat with the same key.

    Only the worker whose value was staged writes: the others' claims would name a key that nobody serves.
    """
    if key is None:
        c.say("write", "staged already")
        return
    for secret, store in c.secrets:
        try:
            await store.stage(secret, key.material, turn.rotation)
        except ConflictError:
            await _lost_the_race(c, turn, key)
        c.say("write", f"staged in {secret}")
    secret, store = c.decider
    await store.annotate(
        secret,
        notes(
            rotation=turn.rotation,
            reason=turn.asked.reason.value,
            pending_key=key.ref.id,
            pending_fingerprint=key.material.fingerprint(),
            pending_since=c.now(),
        ),
    )


async def _lost_the_race(c: Assembly, turn: Turn, key: CreatedKey) -> None:
    """The rotation's token holds another value: a second worker's, or one that was given up."""
    await c.provider.revoke(key.ref)
    c.say("write", f"the rotation's place is taken: {key.ref.id}, which nobody serves, is revoked")
    secret, store = c.decider
    stages = await store.stages(secret)
    if Stage.PENDING in stages or stages.get(Stage.CURRENT) != turn.seen.current:
        raise SupersededError("another run is ahead with this rotation", remedy="let it finish; `keyturn status` shows it")
    # The token is spent. The next rotation takes the next one.
    await store.annotate(secret, notes(attempt=turn.seen.journal.attempt + 1))
    raise SupersededError("this rotation's id was used before and given up", remedy="run the rotation again")
