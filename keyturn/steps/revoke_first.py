"""revoke_first: a leaked key is refused by its provider before it has a successor. That is an outage, and somebody's wish.

Nothing is asked before: neither what serves the key nor who uses it. Where the provider can disable a key, that is done, and
the key is deleted at the end, as any old one; else it is deleted now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyturn.assembly import Assembly
from keyturn.canary.own_login import OwnLoginCanary
from keyturn.errors import KeyturnError, NotFoundError
from keyturn.journal import is_unknown
from keyturn.material import KeyMaterial
from keyturn.model import Stage, Verdict, VersionRef
from keyturn.ports import Disabling, Pooled, RevokesByText, TwoSlots
from keyturn.steps.fence import bar
from keyturn.steps.identify import ref_of
from keyturn.steps.in_place import in_place
from keyturn.steps.observe import observe_decider


@dataclass(frozen=True, slots=True)
class RevokedFirst:
    """`done`: the provider was told, and has confirmed it. `refused_at`: when it was seen to refuse the key; None: it was
    not tried, or not seen yet. `sentence`: where it is not done, why."""

    done: bool
    refused_at: datetime | None = None
    sentence: str = ""


async def revoke_first(c: Assembly, fingerprint: str) -> RevokedFirst:
    """Disable the key, or delete it. Safe to repeat: one that is gone, or disabled, stays so.

    Not done where the provider cannot, and where it is not known which key it is: a guess could end another one. Permission
    needed: as for the revoke of an old key.
    """
    stages, journal = await observe_decider(c)
    reported = journal.leaked_as(fingerprint)
    key = journal.keys.get(fingerprint, "") or (reported.key if reported is not None else "")
    if why := why_not(c, key):
        sentence = f"it could not be revoked first: {why}"
        c.say("revoke_first", f"{sentence}. It goes as soon as every member is proved")
        return RevokedFirst(False, sentence=sentence)
    if stages.get(Stage.CURRENT) != VersionRef("", fingerprint):
        await bar(c, VersionRef("", fingerprint))  # nobody goes back to it
    ref, provider, can = await ref_of(c, key), c.provider, c.provider.capabilities
    if isinstance(provider, Disabling) and can.can_disable and can.max_live_keys is None:
        try:
            await provider.disable(ref)
            c.say("revoke_first", f"disabled {ref.id}: requests fail until its successor is served")
        except NotFoundError:
            c.say("revoke_first", f"{ref.id} is gone already")
    else:  # also where a disabled key would take its successor's place
        await provider.revoke(ref)
        c.say("revoke_first", f"deleted {ref.id}: requests fail until its successor is served")
    version = next((each for each in stages.values() if each.fingerprint == fingerprint), None)
    return RevokedFirst(True, await _seen_refused(c, version) if version is not None else None)


def why_not(c: Assembly, key: str) -> str:
    """Why a key cannot go before it has a successor, in words; "" where it can."""
    if isinstance(c.canary, OwnLoginCanary):
        return "keyturn logs in with it, and could not make its successor"
    if isinstance(c.provider, TwoSlots):
        return "the provider has two keys, and makes one anew while the other is served"
    if isinstance(c.provider, Pooled):
        return "a key of a pool ends once another one was taken"
    if isinstance(c.provider, RevokesByText):
        return "the provider deletes a key only for who is logged in with its successor"
    if in_place(c) is not None:
        return "the provider turns keys in place, and the same key may have another text that is served"
    if not key or is_unknown(key):
        return "which key at the provider it is, is not known"
    return ""


async def _seen_refused(c: Assembly, version: VersionRef) -> datetime | None:
    """One look, for the record: nothing waits for it."""
    secret, store = c.decider
    if not c.provider.capabilities.can_check:
        return None
    try:
        material: KeyMaterial = await store.read(secret, version)
        found = await c.provider.check(material)
    except KeyturnError:
        return None
    if found.verdict is not Verdict.REJECTED:
        return None
    c.say("revoke_first", f"the key is refused: {found.reason}")
    return c.now()
