"""revoke: after the overlap check the evidence again, delete the old key, and see it refused.

The order is the fence. Before a key is deleted its value is barred in the deciding secret, and taken out of the further
ones: after that no promote of it succeeds, neither a rollback's nor that of a worker which was stalled. What a person puts
back by hand is looked for once more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.errors import (
    ByHandError,
    ConflictError,
    EvidenceMissingError,
    IndeterminateError,
    KeyturnError,
    NotFoundError,
)
from keyturn.evidence import Evidence, Waiver
from keyturn.journal import UNKNOWN, Journal, Leaked, notes, words
from keyturn.lifecycle import old_keys
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, KeyRef, Stage, Verdict, VersionRef
from keyturn.ports import Disabling, Pooled
from keyturn.steps.delete import delete, needs_no_id
from keyturn.steps.fence import bar, close, refuse_what_is_in_service, refuse_what_is_served, text_of_old
from keyturn.steps.identify import ref_of
from keyturn.steps.in_place import has_other_texts, in_place, is_shared, siblings
from keyturn.steps.observe import observe_decider
from keyturn.steps.pool import pool_of, ref_in_pool
from keyturn.steps.prove import ask_members, demand_complete, word_on

FIRST_PAUSE = 0.5  # seconds; doubled each time
LONGEST_PAUSE = 10.0
LOOKED_AT_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Revoked:
    """What became of the old key. `refused_at`: when the provider was first seen to refuse it; None: not seen.

    `waits`: it lives, since only a person can delete it; `sentence` says where.
    """

    key: str
    refused_at: datetime | None
    sentence: str
    waits: bool = False


async def revoke(c: Assembly, only: Collection[str] | None = None, waiver: Waiver | None = None) -> Revoked:
    """Demand the evidence anew, revoke, and wait until the provider refuses the old key.

    `only`: the fingerprints whose time has come; what became old since they were looked at has an overlap of its own.
    Where there are several, each has evidence of its own: one that is still used keeps no other alive. `waiver`: what a
    person does without; never a member that is known to serve an old key, nor a secret that tells to use it.

    EvidenceMissingError while something speaks against it. ConflictError when the key is in service again somewhere.
    IndeterminateError when the provider still accepts the key after its propagation budget. Safe to repeat: a key that is
    gone already counts as revoked, and is still tried.
    """
    stages, journal = await observe_decider(c)
    old = {each: key for each, key in old_keys(journal, stages).items() if only is None or each in only}
    if not old:
        return Revoked("", None, "there is no old key to revoke")
    settled = [await _settle_by_hand(c, each, old.pop(each)) for each in sorted(journal.by_hand & old.keys())]
    waiting = [each for each in settled if each.waits]
    if not old:  # of the members nothing is asked for as long as people take
        return (waiting or settled)[0]
    members = await ask_members(c, stages[Stage.CURRENT])
    demand_complete(Evidence(members), waiver=waiver)
    if waiver is not None:
        c.say("revoke", f"forced ({waiver}): evidence that is missing does not stop it")
    # The one whose text is held comes last: that it is refused is what can be seen, and told.
    held = stages[Stage.PREVIOUS].fingerprint if Stage.PREVIOUS in stages else ""
    kept, done = [], Revoked("", None, "no old key was revoked")
    c.evidence.clear()
    for fingerprint, key in sorted(old.items(), key=lambda each: each[0] == held):
        shared = await is_shared(c, key, fingerprint)
        evidence = replace(await word_on(c, journal, key, shared=shared), members=members)
        leaked = journal.leaked_as(fingerprint)
        if leaked is not None:
            evidence = _used_by_a_thief(evidence)
        c.evidence.append(evidence)
        if not evidence.against(waiver):
            done = await _revoke_one(c, fingerprint, key, evidence, waiver, leaked)
            waiting += [done] if done.waits else []
        else:
            kept.append(evidence)
    if any(evidence.idle is False for evidence in kept):
        await _watch_anew(c, journal)
    demand_complete(*kept)
    return waiting[0] if waiting else done


def _used_by_a_thief(evidence: Evidence) -> Evidence:
    """Of a key that has leaked: that it is used is a reason to end it, and none to keep it. It is told all the same."""
    return replace(evidence, refusals=(), missing=(*evidence.missing, *evidence.refusals))


async def _watch_anew(c: Assembly, journal: Journal) -> None:
    """A use after the roll is there for ever. Whether whoever it was has stopped shows in another overlap without one."""
    if journal.proved_at is None or journal.retire_after is None:
        return
    secret, store = c.decider
    now, overlap = c.now(), journal.retire_after - (journal.watched_from or journal.proved_at)
    about = journal.current_fingerprint
    await store.annotate(secret, notes(about=about, watched_from=now, retire_after=now + overlap))
    c.say("revoke", "the old key was used after the roll: it is watched for another overlap")


async def _revoke_one(
    c: Assembly, fingerprint: str, key: str, evidence: Evidence, waiver: Waiver | None, leaked: Leaked | None = None
) -> Revoked:
    proof = words(evidence.note(waiver))
    if waiver is not None:  # whatever becomes of this run: that, and why, a person wanted it
        secret, store = c.decider
        await store.annotate(secret, notes(proof=proof))
    if in_place(c) is not None and (done := await _leave_the_key(c, fingerprint, key)):
        return done
    material = await text_of_old(c, fingerprint)
    pool = c.provider if isinstance(c.provider, Pooled) else None
    if pool is None and ((material is None) if needs_no_id(c) else (key == UNKNOWN)):
        return await _leave_to_a_person(c, fingerprint, material)
    ref = await (ref_of(c, key) if pool is None else ref_in_pool(c, fingerprint, key))
    if pool is not None and material is None:
        material = await pool.text_of(ref)
    ended_first = leaked is not None and leaked.first  # then whatever is found out now, it is never enabled again
    try:
        await refuse_what_is_in_service(c, fingerprint)
    except ConflictError:
        if not ended_first:
            await _enable(c, ref)  # a run may have died with it disabled
        raise
    await bar(c, VersionRef("", fingerprint))
    await refuse_what_is_served(c, fingerprint, waiver)
    can_disable = c.provider.capabilities.can_disable and not ended_first
    if isinstance(c.provider, Disabling) and can_disable and ref.id:
        await _watch_without(c, c.provider, ref, fingerprint, material, waiver)
    await refuse_what_is_in_service(c, fingerprint)
    if pool is None:
        await delete(c, ref, material)
    elif wait := await _end(c, pool, ref, fingerprint, material):
        return wait
    c.say("revoke", "deleted, by its text" if key == UNKNOWN else f"deleted {key}")
    refused_at = await _until_refused(c, material) if material else None
    await close(c, fingerprint, ref, proof)
    if material is None:
        return Revoked(key, None, "revoked; its text was no longer held, so its refusal was not tried")
    if refused_at is None:
        return Revoked(key, None, "revoked, by the provider's word; nobody can be asked whether it is refused")
    return Revoked(key, refused_at, "revoked, and refused by the provider")


async def _leave_the_key(c: Assembly, fingerprint: str, key: str) -> Revoked | None:
    """A text whose key is in service with another one ends by itself. None: the key is to be deleted.

    What else was a text of it dies with it, and so is barred, and served nowhere.
    """
    stages, journal = await observe_decider(c)
    if not await is_shared(c, key, fingerprint):
        for each in siblings(old_keys(journal, stages), fingerprint):
            await bar(c, VersionRef("", each))
            await refuse_what_is_in_service(c, each)
            await refuse_what_is_served(c, each)
        return None
    await bar(c, VersionRef("", fingerprint))
    material = await text_of_old(c, fingerprint)
    found = await _judged(c, material, Verdict.REJECTED) if material is not None else None
    if found is not None and found.verdict is not Verdict.REJECTED:
        secret, store = c.decider
        later = c.now() + LOOKED_AT_AGAIN
        await store.annotate(secret, notes(about=journal.current_fingerprint, retire_after=later))
        sentence = f"the old text is to end by itself, and has not yet: {found.reason}; looked at again in an hour"
        c.say("revoke", sentence)
        return Revoked(key, None, sentence)
    await close(c, fingerprint)
    refused_at = c.now() if found is not None else None
    return Revoked(key, refused_at, "ended by itself; its key stays, with the current text")


async def _end(c: Assembly, pool: Pooled, ref: KeyRef, fingerprint: str, material: KeyMaterial | None) -> Revoked | None:
    """None: the key is ended. Else only a person can do that, has not, and is waited for from now on."""
    try:
        await pool.end(ref, material)
    except ByHandError as error:
        if material is not None and (await c.judge(material)).verdict is Verdict.REJECTED:
            return None
        secret, store = c.decider
        asked = Journal.parse(await store.annotations(secret)).by_hand
        if fingerprint not in asked:
            await store.annotate(secret, notes(by_hand=asked | {fingerprint}))
        return _waits(c, ref, fingerprint, error.message)
    return None


def _waits(c: Assembly, ref: KeyRef, fingerprint: str, what: str) -> Revoked:
    closing = f"it is looked at in every sweep, and by `keyturn pool retired {c.name} {ref.id or fingerprint}`"
    c.say("revoke", f"waits for a person: {what}; {closing}")
    return Revoked(ref.id, None, f"{what}; {closing}", waits=True)


async def _settle_by_hand(c: Assembly, fingerprint: str, key: str) -> Revoked:
    """The key that a person was asked to delete. Its value is barred: it has come back nowhere but by a person's hand."""
    pool = pool_of(c)
    ref = await ref_in_pool(c, fingerprint, key)
    material = await text_of_old(c, fingerprint) or await pool.text_of(ref)
    await refuse_what_is_in_service(c, fingerprint)
    try:
        await refuse_what_is_served(c, fingerprint)
    except EvidenceMissingError as error:  # a member that is silent for a while is no failure of who waits
        return _waits(c, ref, fingerprint, error.message)
    if wait := await _end(c, pool, ref, fingerprint, material):
        return wait
    refused_at = await _until_refused(c, material) if material else None
    await close(c, fingerprint, ref)
    return Revoked(ref.id or fingerprint, refused_at, "deleted, and refused by the provider" if refused_at else "deleted")


async def settle(c: Assembly, key: str, *, unchecked: bool = False) -> Revoked:
    """A person says that they have deleted an old key in the vendor's console: by its id, or the fingerprint of its text.

    It has to be refused. ByHandError while it is not; also where its text is held nowhere, unless it is to be believed
    `unchecked`. NotFoundError for a key that is not old, and in the pool neither.
    """
    pool = pool_of(c)
    stages, journal = await observe_decider(c)
    old = old_keys(journal, stages)
    fingerprint = next((each for each, id in old.items() if key in (id, each)), "")
    if not fingerprint:
        return await _settle_a_free_one(c, pool, key)
    ref = await ref_in_pool(c, fingerprint, old[fingerprint])
    material = await text_of_old(c, fingerprint) or await pool.text_of(ref)
    if material is None and not unchecked:
        raise ByHandError(
            "the text of this key is held nowhere, so that nobody can try whether it is refused",
            remedy="look in the console that the key is not there, then say it with --unchecked",
        )
    refused_at = None
    if material is not None:
        await _demand_refused(c, material)
        refused_at = c.now()
    await refuse_what_is_in_service(c, fingerprint)
    await bar(c, VersionRef("", fingerprint))
    await close(c, fingerprint, ref)
    return Revoked(ref.id or fingerprint, refused_at, "refused by the provider" if refused_at else "believed, and not tried")


async def _settle_a_free_one(c: Assembly, pool: Pooled, key: str) -> Revoked:
    """One that nobody has taken: its place is empty from now on."""
    for entry in await pool.entries():
        if entry.key is None or key not in (entry.key.id, entry.key.fingerprint, entry.place):
            continue
        if not entry.is_free:
            break
        material = await pool.text_of(entry.key)
        if material is not None:
            await _demand_refused(c, material)
        await pool.forget(entry.key)
        return Revoked(entry.key.id, c.now(), "refused by the provider; its place in the pool is empty")
    raise NotFoundError(
        "no old key of this credential, and no free one of its pool, has this id",
        remedy=f"`keyturn pool list {c.name}` shows them",
    )


async def _demand_refused(c: Assembly, material: KeyMaterial) -> None:
    begun = c.now()
    while (found := await c.judge(material)).verdict is not Verdict.REJECTED:
        if found.verdict is Verdict.ACCEPTED and c.now() - begun >= c.propagation:
            raise ByHandError(
                f"the key that ends in {material.last_four()} is not deleted: {found.reason}",
                remedy="delete it in the vendor's console, and say this again",
            )
        if c.now() - begun >= c.propagation:
            raise IndeterminateError(f"whether the key is refused could not be told: {found.reason}", remedy="try again")
        await c.pause(LONGEST_PAUSE)


async def _watch_without(
    c: Assembly,
    provider: Disabling,
    ref: KeyRef,
    fingerprint: str,
    material: KeyMaterial | None,
    waiver: Waiver | None,
) -> None:
    """Disable the key, which can be undone, and see every member answer without it before it is deleted, which cannot.

    Where one does not, the key is enabled again, and the error is the member's. A run that dies here leaves a disabled key:
    the next one does this again.
    """
    try:
        await provider.disable(ref)
    except NotFoundError:
        return  # it is gone already, which the revoke that follows finds out for itself
    c.say("revoke", f"disabled {ref.id}")
    try:
        await refuse_what_is_in_service(c, fingerprint)
        # Of a key that was turned no vendor tells whether an old text ends while it is disabled: evidence has to do.
        if material is not None and not await has_other_texts(c, ref.id, fingerprint):
            await _until_not_accepted(c, material)
        stages, _ = await observe_decider(c)
        demand_complete(Evidence(await ask_members(c, stages[Stage.CURRENT])), waiver=waiver)
    except KeyturnError:
        await _enable(c, ref)
        raise


async def _enable(c: Assembly, ref: KeyRef) -> None:
    """Undo what `_watch_without` did. What failed before is what is told: if this fails too, that is a line of its own."""
    provider = c.provider
    if not (isinstance(provider, Disabling) and provider.capabilities.can_disable):
        return
    try:
        await provider.enable(ref)
        c.say("revoke", f"enabled {ref.id} again")
    except KeyturnError as error:
        c.say("revoke", f"{ref.id} may still be disabled, and could not be enabled: {error.message}")


async def _judged(c: Assembly, material: KeyMaterial, *enough: Verdict) -> Judgement:
    """The first judgement that is one of these, or the one at the end of the propagation budget."""
    begun, pause = c.now(), FIRST_PAUSE
    while True:
        found = await c.judge(material)
        if found.verdict in enough or c.now() - begun >= c.propagation:
            return found
        await c.pause(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _until_not_accepted(c: Assembly, material: KeyMaterial) -> None:
    """What a disabled key is answered is known of few providers, so any word but yes will do: what follows asks members.

    IndeterminateError where it is accepted still, after the propagation budget.
    """
    found = await _judged(c, material, Verdict.REJECTED, Verdict.INDETERMINATE)
    if found.verdict is Verdict.ACCEPTED:
        raise IndeterminateError(
            "the old key was disabled, and is still accepted", remedy="run `keyturn retire` again; look at the console"
        )
    c.say("revoke", f"the old key is not accepted while it is disabled: {found.reason}")


async def _until_refused(c: Assembly, material: KeyMaterial) -> datetime | None:
    """None: the provider has no check of its own, and LiteLLM cannot tell either. It has confirmed the revoke, though."""
    found = await _judged(c, material, Verdict.REJECTED)
    if found.verdict is Verdict.REJECTED:
        c.say("revoke", f"the old key is refused: {found.reason}")
        return c.now()
    if found.verdict is Verdict.INDETERMINATE and not c.provider.capabilities.can_check:
        return None
    raise IndeterminateError(
        f"the old key was deleted and is not seen to be refused: {found.reason}",
        remedy="run `keyturn retire` again; if it stays so, look at the provider's console",
    )


async def _leave_to_a_person(c: Assembly, fingerprint: str, material: KeyMaterial | None) -> Revoked:
    """Never guess which key to delete. One that is refused was deleted already, which is why no key matched it."""
    if material is not None:
        found = await c.judge(material)
        if found.verdict is Verdict.REJECTED:
            await close(c, fingerprint)
            return Revoked("", c.now(), "the old key is refused by the provider: somebody has deleted it before")
    secret, store = c.decider
    await store.annotate(secret, notes(keys={fingerprint: None}))
    lost = "'s text is held nowhere any more" if needs_no_id(c) else " could not be matched to a key at the provider"
    sentence = f"the old key{lost}: delete it there by hand"
    c.say("revoke", sentence)
    return Revoked("", None, sentence)
