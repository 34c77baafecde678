"""A key that is given a new text, and stays: only where nothing has gone wrong yet; else a new key is made, as anywhere.

The old text's end is set in the very moment the new one is made, and nothing can put it off. So a value is turned away from
once, ever: whoever may turn reserves that in the store, whose tokens are given once. A turn that was reserved and of which
nothing came, be it that its worker died, sleeps, or lost the answer, is never tried again: a second one might end the text
that is in service. A key of its own, made beside, cannot; and with it in service the first key is deleted as old ones are.

One id is two texts meanwhile. So a key is left alone while any other value that is held is one of its texts.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError
from keyturn.journal import Journal, Turned, is_unknown, notes
from keyturn.lifecycle import Reason
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, KeyRef, Stage, VersionRef
from keyturn.ports import InPlace
from keyturn.steps.identify import key_of, ref_of
from keyturn.steps.observe import Turn, observe_decider
from keyturn.steps.one_look import one_look, stages_and_journal

_TIME_TO_ROLL = timedelta(hours=1)  # between the turn and the proof, at the least


def in_place(c: Assembly) -> InPlace | None:
    """The provider, where it turns keys in place and its settings ask for that."""
    provider = c.provider
    return provider if isinstance(provider, InPlace) and provider.old_text_lives is not None else None


def old_text_lives(c: Assembly) -> timedelta | None:
    """How long the text in service lives once its key has another; None: its key is not turned in place."""
    provider = in_place(c)
    return provider.old_text_lives if provider is not None else None


async def turn_in_place(c: Assembly, provider: InPlace, turn: Turn) -> CreatedKey | None:
    """The key in service with a new text. None, and nothing is done: a key of its own has to be made; why is said.

    LostAnswerError, or any other, where it may have been done: the next run makes a key of its own.
    """
    if turn.asked.reason is Reason.INCIDENT:
        c.say("create", "an incident: the old text could not be revoked by itself, so the whole key is replaced")
        return None
    if c.settings.approval is not None and "rotation" in c.settings.approval.when:
        c.say("create", "a person is asked before the old text ends, and turned it would end by itself: the key is replaced")
        return None
    secret, store = c.decider
    stages, journal = await observe_decider(c)
    current = stages.get(Stage.CURRENT)
    if current is None or current != turn.seen.current:
        raise ConflictError("somebody changed the current value meanwhile", remedy="run the rotation again")
    if _may_have_an_old_text(c, journal, current):
        c.say("create", "the key was, or may have been, turned before: a key of its own is made instead")
        return None
    key = await _in_service(c, journal, current)
    if key is None:
        c.say("create", "which key at the provider is in service is not known: a key of its own is made instead")
        return None
    try:
        await store.stage(secret, _reservation(), _token(c, current))
    except ConflictError:
        c.say("create", "another run may be turning the key, or has: a key of its own is made instead")
        return None
    ends = c.now() + (provider.old_text_lives or timedelta(0))
    await store.annotate(secret, notes(turned=Turned(ends, current.fingerprint, key.id)))
    c.say("create", f"turning {key.id}: its old text ends at {ends:%Y-%m-%d %H:%M:%S} UTC")
    try:
        return await provider.turn(key, c.settings.fuse)
    except ConflictError as error:
        c.say("create", f"{error.message}: a key of its own is made instead")
        return None


async def turned_into(c: Assembly, journal: Journal, material: KeyMaterial, label: str) -> KeyRef | None:
    """The key that was turned last, where this staged text is what became of it: no key was made for it instead."""
    if in_place(c) is None or journal.turned is None or await c.provider.find(label):
        return None
    key = await ref_of(c, journal.turned.key)
    same = key.fingerprint == material.fingerprint() if key.fingerprint else material.may_fit_hint(key.hint)
    return key if same else None


def shares_its_key(journal: Journal, stages: Mapping[Stage, VersionRef], key_id: str, fingerprint: str) -> bool:
    """Whether the key of this id has another text beside this one that is held, and so is to stay."""
    if is_unknown(key_id):
        return False
    held = {stages[stage].fingerprint for stage in (Stage.CURRENT, Stage.PENDING) if stage in stages} - {fingerprint}
    turned = journal.turned
    return any(journal.keys.get(each) == key_id for each in held) or (
        turned is not None and turned.key == key_id and turned.text in held
    )


async def is_shared(c: Assembly, key_id: str, fingerprint: str) -> bool:
    """`shares_its_key`, by a look of its own. The stages first: of what is CURRENT, or was a moment ago, the journal that is
    read after them knows the key."""
    if in_place(c) is None:
        return False
    stages, journal = await stages_and_journal(c, await one_look(c))
    return shares_its_key(journal, stages, key_id, fingerprint)


async def has_other_texts(c: Assembly, key_id: str, fingerprint: str) -> bool:
    """`is_claimed`, by a look of its own."""
    if in_place(c) is None:
        return False
    _, journal = await observe_decider(c)
    return is_claimed(journal, key_id, fingerprint)


def is_claimed(journal: Journal, key_id: str, fingerprint: str) -> bool:
    """Whether any other value than this one is, or was, a text of this key, and is not known to be refused."""
    return key_id in [id for each, id in journal.keys.items() if each != fingerprint] or (
        journal.turned is not None and journal.turned.key == key_id
    )


def siblings(old: Mapping[str, str], fingerprint: str) -> tuple[str, ...]:
    """The other old values that are texts of the same key: they die with it."""
    key = old.get(fingerprint)
    if key is None or is_unknown(key):
        return ()
    return tuple(each for each, id in old.items() if id == key and each != fingerprint)


def told_of(c: Assembly) -> tuple[Finding, ...]:
    """What a plan says of it, and whether the old text lives long enough."""
    what, lives = "the key is turned in place", old_text_lives(c)
    if lives is None:
        return ()
    if not lives:
        return (Finding(what, True, "its old text is refused at once: requests fail until every member is rolled"),)
    if lives < c.settings.overlap + _TIME_TO_ROLL:
        enough = "the old text has to live through the overlap, and an hour more for the roll"
        return (Finding(what, False, f"{enough}: it lives {lives}", "set a longer `in_place`, or a shorter `overlap`"),)
    return (Finding(what, True),)


def _may_have_an_old_text(c: Assembly, journal: Journal, current: VersionRef) -> bool:
    """Also one of a turn before the last: members may serve it yet."""
    if journal.turned is None:
        return False
    return journal.turned_from(current.fingerprint) is not None or c.now() < journal.turned.ends + c.propagation


async def _in_service(c: Assembly, journal: Journal, current: VersionRef) -> KeyRef | None:
    known = journal.keys.get(current.fingerprint, "")
    if known and not is_unknown(known):
        return await ref_of(c, known)
    secret, store = c.decider
    return await key_of(c, await store.read(secret, current))


def _token(c: Assembly, current: VersionRef) -> str:
    """The same for every run that would turn away from this value, whatever its rotation's number."""
    return c.mark.rotation(uuid.uuid5(uuid.NAMESPACE_OID, f"{c.mark.text}/turn/{current.fingerprint}").hex[:12])


def _reservation() -> KeyMaterial:
    """What holds the place in the store until the new text is there: no key, and another one each time."""
    return KeyMaterial(f"keyturn-turns-this-key-{uuid.uuid4().hex}")
