"""create: unless this rotation's key is staged already, create it, named for the rotation, with a fuse."""

from __future__ import annotations

from uuid import uuid4

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, LostAnswerError, MisconfiguredError
from keyturn.journal import UNKNOWN
from keyturn.lifecycle import Step
from keyturn.model import CreatedKey, Stage, VersionRef
from keyturn.ports import Pooled, TwoSlots
from keyturn.steps.identify import key_of
from keyturn.steps.in_place import in_place, turn_in_place, turned_into
from keyturn.steps.in_service import in_service
from keyturn.steps.observe import Turn, observe_decider, observe_serving
from keyturn.steps.write import claim


async def create(c: Assembly, turn: Turn) -> CreatedKey | None:
    """The new key, or None when this rotation's key is already staged.

    A key that was taken back from the members is staged again instead. LostAnswerError when the key may exist and its text
    is lost. Repeating the step makes another one of the same name;
    `tidy` revokes the first as soon as the rotation has a winner. It is not revoked here: to this worker a key that a
    second worker is about to stage looks just the same, and a worker that was stalled between looking and revoking
    would kill a key that is in service by now.
    """
    if turn.decision.step is Step.AGAIN:
        await _stage_again(c, turn)
        return None
    if turn.decision.step is Step.ADOPT and await _adopt(c, turn):
        return None
    if turn.decision.step not in (Step.CREATE, Step.ADOPT):
        c.say("create", "this rotation's key is staged already")
        return None
    c.say("create", f"creating {turn.label}")
    try:
        if isinstance(c.provider, TwoSlots):
            created = await _idle_slot(c, c.provider, turn)
        elif isinstance(c.provider, Pooled):
            created = await c.provider.take(turn.label, await _held(c))
        else:
            created = await _turned_or_made(c, turn)
    except LostAnswerError:
        c.say("create", "the answer was lost: a key of this name may exist, and is revoked when the rotation has its key")
        raise
    c.say("create", f"created {created.ref.id}")
    return created


async def _turned_or_made(c: Assembly, turn: Turn) -> CreatedKey:
    provider = in_place(c)
    turned = await turn_in_place(c, provider, turn) if provider is not None else None
    return turned or await c.provider.create(turn.label, c.settings.fuse)


async def _idle_slot(c: Assembly, provider: TwoSlots, turn: Turn) -> CreatedKey:
    """The slot that nobody uses, made anew: as it was when this rotation was decided, with what is held since left alone.

    To a second worker the first one's new key looks idle, too, until it is staged. So the text that is about to die is
    barred first: from then on nobody promotes it; and where somebody has, that is a ConflictError, and nothing is done.
    ConflictError also where both are held: the last rotation's old key is still to go. MisconfiguredError where none is: the
    value in service is a key of another place.
    """
    held = await _held(c)
    slots = turn.seen.keys if turn.seen.keys is not None else await c.provider.list()
    idle = [slot for slot in slots if slot.fingerprint not in held]
    if not idle:
        raise ConflictError("both keys of the provider are held", remedy=f"`keyturn retire {c.name}` the old one first")
    if len(idle) > 1:
        raise MisconfiguredError(
            "the value in service is neither of the provider's two keys: which one is idle cannot be told",
            remedy="put the key that is in use into the secret, or check the provider's settings",
        )
    secret, store = c.decider
    doomed = await store.stage(secret, await provider.text(idle[0]), str(uuid4()))
    await store.bar(secret, doomed)
    created = await provider.renew(idle[0], held)
    await store.discard(secret, doomed)
    return created


async def _held(c: Assembly) -> set[str]:
    """Fingerprints of all that may be in service."""
    held = {version.fingerprint for secret, store in c.secrets for version in (await store.stages(secret)).values()}
    serving = await observe_serving(c)
    return held | {version.fingerprint for members in serving.values() for version in members.values() if version}


async def _stage_again(c: Assembly, turn: Turn) -> None:
    """PREVIOUS, which was taken back from the members, is this rotation's key: under the rotation's own token."""
    secret, store = c.decider
    stages, journal = await observe_decider(c)
    previous = stages.get(Stage.PREVIOUS)
    if previous is None or previous.fingerprint != journal.back_from:
        raise ConflictError("the key that was to be tried again is gone", remedy="run the rotation again")
    await store.stage(secret, await store.read(secret, previous), turn.rotation)
    key_id = journal.keys.get(previous.fingerprint, UNKNOWN)
    await claim(c, turn, previous.fingerprint, key_id)
    c.say("create", f"nothing to create: {key_id} is staged again")


async def _adopt(c: Assembly, turn: Turn) -> bool:
    """Claim a staged value that no journal knows, if it bears this rotation's id; else clear it away."""
    secret, store = c.decider
    stages, journal = await observe_decider(c)
    pending = stages.get(Stage.PENDING)
    if pending is None:
        return False
    if pending.fingerprint in journal.keys:
        c.say("create", "this rotation's key is staged already, and written down by now")
        return True
    if pending.id != turn.rotation:
        await _clear(c, turn, pending)
        return False
    material = await store.read(secret, pending)
    key = await key_of(c, material, lambda name: name == turn.label) or await turned_into(c, journal, material, turn.label)
    key_id = key.id if key else UNKNOWN
    await claim(c, turn, pending.fingerprint, key_id)
    c.say("create", f"the staged value is this rotation's: adopted, its key is {key_id}")
    return True


async def _clear(c: Assembly, turn: Turn, pending: VersionRef) -> None:
    """Discard what somebody else staged. A key of ours behind it, of a rotation that nobody remembers, goes with it."""
    secret, store = c.decider
    material = await store.read(secret, pending)
    await store.discard(secret, pending)
    c.say("create", "the staged value is not this rotation's: cleared")
    if isinstance(c.provider, Pooled):
        return  # whoever took it may still come with it: the sweep sees to that first
    key = await key_of(c, material, c.mark.is_ours)
    if key is None or (await store.stages(secret)).get(Stage.CURRENT) != turn.seen.current:
        return
    # CURRENT is still what it was, so the value was not promoted unless it was taken back again; and now it cannot be.
    if not await in_service(c, pending.fingerprint):
        await c.provider.revoke(key)
        c.say("create", f"revoked {key.id}, which nobody serves")
