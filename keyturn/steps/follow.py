"""follow: bring the further secrets to what the deciding one holds. They have no say of their own."""

from __future__ import annotations

import uuid

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore

_TOKENS = 5  # a value may have been staged and discarded there before, which spends its token


async def follow(c: Assembly, new: VersionRef) -> None:
    """Every further secret holds `new`, which is CURRENT in the deciding one. Safe to repeat.

    A worker that was stalled brings nothing back: it swaps only what it saw in the follower, and looks at the deciding
    secret again once the value stands there. Whoever revokes a value bars it in the deciding secret first and takes it out
    of the followers next; so either that look fails, or the swap does. ConflictError when CURRENT has moved on.
    """
    for each, where in c.secrets[1:]:
        stages = await where.stages(each)
        theirs = stages.get(Stage.CURRENT)
        if theirs == new:
            continue
        if theirs is None:
            raise NotFoundError(f"{each} has no current value", remedy="put the key in use today there first")
        held = next((version for version in stages.values() if version == new), None)
        if held is None:
            held = await _stage(each, where, (await _still_current(c, new)).material)
        await _still_current(c, new)
        await where.promote(each, held, theirs)
        c.say("promote", f"{each} is now the new key")


async def _still_current(c: Assembly, new: VersionRef) -> HeldKey:
    secret, store = c.decider
    held = await store.current(secret)
    if held.version != new:
        raise ConflictError("somebody changed the current value meanwhile", remedy="run the rotation again")
    return held


async def _stage(secret: SecretRef, store: SecretStore, material: KeyMaterial) -> VersionRef:
    for number in range(_TOKENS):
        token = uuid.uuid5(uuid.NAMESPACE_OID, f"keyturn/follow/{material.fingerprint()}/{number}")
        try:
            return await store.stage(secret, material, str(token))
        except ConflictError:
            continue
    raise ConflictError(f"{secret} takes the new key under no token", remedy="write it there by hand, then run again")
