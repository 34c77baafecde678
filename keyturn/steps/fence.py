"""The fence around a key that is about to be deleted: barred, in service nowhere, served by no member; and its end.

Before a key is deleted its value is barred in the deciding secret, and taken out of the further ones: after that no promote
of it succeeds. What a person puts back by hand is looked for once more.
"""

from __future__ import annotations

import asyncio

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, EvidenceMissingError
from keyturn.evidence import Rule, Waiver, waives
from keyturn.journal import NO_FAILURE, UNKNOWN, Journal, notes
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Stage, VersionRef
from keyturn.ports import Pooled
from keyturn.steps.observe import observe_serving
from keyturn.steps.one_look import annotate, one_look
from keyturn.steps.pool import ref_in_pool


async def bar(c: Assembly, version: VersionRef) -> None:
    """The deciding secret first: see `follow`. It keeps the text, for seeing the key refused."""
    secret, store = c.decider
    await store.bar(secret, version)
    for each, where in c.secrets[1:]:
        await where.discard(each, version)


async def text_of_old(c: Assembly, fingerprint: str) -> KeyMaterial | None:
    """From whichever secret still holds it."""
    look = await one_look(c)
    if look is not None and (previous := look.stages.get(Stage.PREVIOUS)) and previous.fingerprint == fingerprint:
        return look.held[Stage.PREVIOUS].material
    for secret, store in c.secrets[0 if look is None else 1 :]:
        previous = (await store.stages(secret)).get(Stage.PREVIOUS)
        if previous is not None and previous.fingerprint == fingerprint:
            return await store.read(secret, previous)
    return None


async def refuse_what_is_in_service(c: Assembly, fingerprint: str) -> None:
    """Since the evidence was gathered somebody may have put the old value back."""
    held = await asyncio.gather(*(store.current(secret) for secret, store in c.secrets))
    for (secret, _), current in zip(c.secrets, held, strict=True):
        if current.version.fingerprint == fingerprint:
            raise ConflictError(
                f"the old key is what {secret} tells the proxies to use: not revoked",
                remedy=f"look who put it back; `keyturn rotate {c.name}` goes on from there",
            )


async def refuse_what_is_served(c: Assembly, fingerprint: str, waiver: Waiver | None = None) -> None:
    """Since the evidence was gathered a rollback may have moved the members back onto the old value, and a later rotation
    have promoted another: then the secrets tell of neither. What is barred no member can come to load from now on."""
    for fleet, members in (await observe_serving(c)).items():
        for member, version in members.items():
            if version is None and waives(waiver, Rule.UNKNOWN):
                continue
            if version is None or version.fingerprint == fingerprint:
                what = "cannot be asked which key it serves" if version is None else "serves the old key"
                raise EvidenceMissingError(
                    f"the old key is kept: {fleet}/{member} {what}",
                    remedy=f"`keyturn rotate {c.name}` rolls it onto the current one",
                )


async def close(c: Assembly, fingerprint: str, ref: KeyRef | None = None, proof: str = "") -> None:
    """Drop the dead value from every store, then the note about it: a run that dies between does this again. `proof`: the
    evidence, to be kept."""
    if isinstance(c.provider, Pooled):
        await c.provider.forget(ref or await ref_in_pool(c, fingerprint, UNKNOWN))
    for each, where in c.secrets:
        await where.discard(each, VersionRef("", fingerprint))
    secret, store = c.decider
    look = await one_look(c)
    journal = Journal.parse(look.notes if look is not None else await store.annotations(secret))
    settled = {} if journal.back_from else dict(NO_FAILURE)
    if journal.turned_from(fingerprint) is not None:
        settled |= notes(turned=None)
    if journal.leaked_as(fingerprint) is not None:
        settled |= notes(leaked=None)
    if journal.answered_of(fingerprint) is not None:
        settled |= notes(answered=None)
    if proof:
        settled |= notes(proof=proof)
    if fingerprint in journal.by_hand:
        settled |= notes(by_hand=journal.by_hand - {fingerprint})
    await annotate(c, look, {**notes(keys={fingerprint: None}, retired_at=c.now()), **settled})
