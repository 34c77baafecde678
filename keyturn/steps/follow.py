"""follow: bring the further secrets to what the deciding one holds. They have no say of their own."""

from __future__ import annotations

import uuid

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore

_TOKENS = 5  # a value may have been staged and discarded there before, which spends its token


async def follow(c: Assembly, new: VersionRef) -> None:
    """Every further secret holds `new`, which is CURRENT in the deciding one. Safe to repeat.

    A worker that was stalled takes none of them back: it looks at the follower before the deciding secret, which is always
    ahead, and swaps only what it saw there. ConflictError when CURRENT has moved on.
    """
    secret, store = c.decider
    for each, where in c.secrets[1:]:
        stages = await where.stages(each)
        theirs = stages.get(Stage.CURRENT)
        if theirs == new:
            continue
        held = await store.current(secret)
        if held.version != new:
            raise ConflictError("somebody changed the current value meanwhile", remedy="run the rotation again")
        if theirs is None:
            raise NotFoundError(f"{each} has no current value", remedy="put the key in use today there first")
        pending = stages.get(Stage.PENDING)
        if pending != new:
            pending = await _stage(each, where, held.material)
        await where.promote(each, pending, theirs)
        c.say("promote", f"{each} is now the new key")


async def _stage(secret: SecretRef, store: SecretStore, material: KeyMaterial) -> VersionRef:
    for number in range(_TOKENS):
        token = uuid.uuid5(uuid.NAMESPACE_OID, f"keyturn/follow/{material.fingerprint()}/{number}")
        try:
            return await store.stage(secret, material, str(token))
        except ConflictError:
            continue
    raise ConflictError(f"{secret} takes the new key under no token", remedy="write it there by hand, then run again")
