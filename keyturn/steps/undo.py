"""undo: before the pivot a failed rotation leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from keyturn.assembly import Assembly
from keyturn.errors import ByHandError, ConflictError
from keyturn.journal import UNKNOWN, Journal, notes
from keyturn.lifecycle import Step
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Stage, Verdict, VersionRef
from keyturn.ports import Pooled
from keyturn.steps.delete import drop, needs_no_id
from keyturn.steps.identify import ref_of
from keyturn.steps.in_service import in_service
from keyturn.steps.observe import Turn, observe_decider
from keyturn.steps.pool import pool_of, put_back, ref_in_pool
from keyturn.steps.tidy import revoke_namesakes


async def undo(c: Assembly, turn: Turn, key: CreatedKey | None) -> bool:
    """Discard this rotation's PENDING everywhere, then revoke its key. False, and nothing is revoked, when the key was
    promoted after all, or may have been.

    The order is the fence: after `discard` no promote of that version can succeed, so the key that dies next is one that
    nobody can come to serve. `key`: what this run created; None for a run that went on with what was staged before.
    """
    stages, journal = await observe_decider(c)
    pending = stages.get(Stage.PENDING)
    took_over = turn.decision.step in (Step.ADOPT, Step.VALIDATE, Step.AGAIN)
    if pending is not None and pending.id == turn.rotation and (took_over or _is(pending, key)):
        return await _give_up(c, turn, stages, pending, journal, key)
    if key is None:
        return False
    held = any(_is(version, key) for version in stages.values())
    if not held:
        await _drop_from_the_further(c, VersionRef("", key.material.fingerprint()))
    # Whoever promotes a value has claimed it before. Without a claim, and held nowhere, it was never served and never is.
    if held or key.material.fingerprint() in journal.keys:
        c.say("undo", "the new key was promoted or given up by another run: nothing is undone")
        return False
    if isinstance(c.provider, Pooled):
        # A second worker of this rotation has the same key, and may be about to stage it. The next run is given it, too.
        c.say("undo", f"{key.ref.id} was never staged: it is kept for the next run")
        return True
    if await drop(c, "undo", key.ref, key.material.fingerprint(), key.material):
        c.say("undo", f"revoked {key.ref.id}, which was never staged")
    return True


async def _give_up(
    c: Assembly,
    turn: Turn,
    stages: Mapping[Stage, VersionRef],
    pending: VersionRef,
    journal: Journal,
    key: CreatedKey | None,
) -> bool:
    """`stages`: one look that shows PENDING beside the CURRENT that it was not promoted over."""
    secret, store = c.decider
    key_id = journal.keys.get(pending.fingerprint, key.ref.id if key else UNKNOWN)
    # `discard` takes the text out of the store, and some providers know a key by nothing else.
    by_text = needs_no_id(c) or isinstance(c.provider, Pooled)
    material = await store.read(secret, pending) if by_text else None
    # First: a run that finds PENDING gone has to find a new id too, and the key that is left over if this one dies.
    await store.annotate(secret, notes(attempt=journal.attempt + 1, keys={pending.fingerprint: key_id}))
    try:
        await store.discard(secret, pending)
    except ConflictError:
        c.say("undo", "the new key was promoted after all: nothing is undone")
        return False
    if (await store.stages(secret)).get(Stage.CURRENT) != stages.get(Stage.CURRENT):
        c.say("undo", "the current value was changed meanwhile: the new key goes when old keys do")
        return False
    if place := await in_service(c, pending.fingerprint):
        c.say("undo", f"{place}: the new key goes when old keys do")
        return False
    await _drop_from_the_further(c, pending, turn.rotation)
    if isinstance(c.provider, Pooled) and material is not None:
        await _end_or_put_back(c, pending.fingerprint, key_id, material)
    elif key_id == UNKNOWN and material is None:
        c.say("undo", "the new key could not be matched to a key at the provider: delete it there by hand")
    elif await drop(c, "undo", await ref_of(c, key_id), pending.fingerprint, material):
        c.say("undo", f"revoked {key_id}, which nobody serves")
    await revoke_namesakes(c, "undo", turn.label, journal)
    await store.annotate(secret, notes(keys={pending.fingerprint: None}, pending_fingerprint=None, staged_at=None))
    c.say("undo", "given up; the key in service is untouched")
    return True


async def _end_or_put_back(c: Assembly, fingerprint: str, key_id: str, material: KeyMaterial) -> None:
    """Of a pool's key it is asked once more what is wrong with it: one that is refused is not given to the next run.

    ByHandError where only a person can delete that: it goes when old keys do.
    """
    pool = pool_of(c)
    key = await ref_in_pool(c, fingerprint, key_id)
    if (await c.canary.candidate(material)).verdict is not Verdict.REJECTED:
        await put_back(c, "undo", key)
        return
    try:
        await pool.end(key, material)
    except ByHandError:
        if (await c.judge(material)).verdict is not Verdict.REJECTED:
            raise
    await pool.forget(key)
    c.say("undo", f"ended {key.id}, which nobody serves")


async def _drop_from_the_further(c: Assembly, version: VersionRef, rotation: str = "") -> None:
    """A value that the deciding secret does not hold has no business there. One that is served there is left to `follow`."""
    for each, where in c.secrets[1:]:
        if rotation:
            await where.spend(each, rotation)  # a second worker may be about to stage it there
        with suppress(ConflictError):
            await where.discard(each, version)


def _is(version: VersionRef, key: CreatedKey | None) -> bool:
    return key is not None and version.fingerprint == key.material.fingerprint()
