"""The deciding secret in one look, where its store can give one: a step decides by it, and its first write begins with it.

Each verb of a store looks before it writes. A step that has just looked itself would have it look twice, at the same
thing. Where a look is handed on here, nothing was waited for since it was taken, so that the store sees the same calls in
the same order as from the verb alone, but for the second look.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.assembly import Assembly
from keyturn.journal import Journal
from keyturn.material import KeyMaterial
from keyturn.model import Look, Stage, VersionRef
from keyturn.ports import OneLook


async def one_look(c: Assembly) -> Look | None:
    """None where the store has none to give: then each verb looks by itself."""
    secret, store = c.decider
    return await store.look(secret) if isinstance(store, OneLook) else None


async def stages_and_journal(c: Assembly, look: Look | None) -> tuple[Mapping[Stage, VersionRef], Journal]:
    """Without a look the stages are read first: a value is claimed before it is promoted, so that of one which is CURRENT
    the journal that is read after it knows the key."""
    secret, store = c.decider
    if look is not None:
        return look.stages, Journal.parse(look.notes)
    stages = await store.stages(secret)
    return stages, Journal.parse(await store.annotations(secret))


async def text_of(c: Assembly, look: Look | None, version: VersionRef) -> KeyMaterial:
    """What a version says that a stage holds. NotFoundError otherwise."""
    secret, store = c.decider
    held = look.held.values() if look is not None else ()
    found = next((key.material for key in held if key.version == version), None)
    return await store.read(secret, version) if found is None else found


async def stage(c: Assembly, look: Look | None, material: KeyMaterial, token: str) -> VersionRef:
    secret, store = c.decider
    if look is not None and isinstance(store, OneLook):
        return await store.stage(secret, material, token, seen=look)
    return await store.stage(secret, material, token)


async def swap(c: Assembly, look: Look | None, version: VersionRef, replacing: VersionRef) -> Look | None:
    """Promote. The look as it is right after; None where that is not known."""
    secret, store = c.decider
    after = await store.swap(secret, version, look) if look is not None and isinstance(store, OneLook) else None
    if after is None:
        await store.promote(secret, version, replacing)
    return after


async def annotate(c: Assembly, look: Look | None, notes: Mapping[str, str | None]) -> None:
    """Notes that others have set since the look may be lost, as those may that are set while a store writes."""
    secret, store = c.decider
    if look is not None and isinstance(store, OneLook):
        await store.annotate(secret, notes, seen=look)
    else:
        await store.annotate(secret, notes)
