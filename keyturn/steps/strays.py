"""strays: revoke the keys of ours that nothing claims, where it is sure that nobody can come to serve them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from keyturn.assembly import Assembly
from keyturn.journal import UNKNOWN, Journal, notes
from keyturn.lifecycle import Observed
from keyturn.model import KeyRef, Mark, Stage, rotation_id
from keyturn.ports import Pooled
from keyturn.steps.observe import observe, observe_decider
from keyturn.steps.pool import put_back


@dataclass(frozen=True, slots=True)
class Strays:
    """`revoked`: the ids of those that are gone now. `unexplained`: why each other one was left alone, in words."""

    revoked: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()


def unclaimed(mark: Mark, seen: Observed) -> tuple[KeyRef, ...]:
    """The keys of ours that the journal claims for nothing. Some may be on their way to be staged."""
    claimed = set(seen.journal.keys.values())
    ours = [key for key in seen.keys or () if mark.is_ours(key.name)]
    return tuple(key for key in ours if key.id not in claimed and key.fingerprint not in seen.journal.keys)


async def strays(c: Assembly, age: timedelta) -> Strays:
    """Look anew, and revoke each unclaimed key that is older than any create-to-write (`age`), and can be explained.

    Its maker may be stalled, and stage it the moment it wakes. So its rotation's token is spent first: then it cannot be
    staged any more; and if it had been before, then by the look that follows it is claimed or held.
    """
    seen = await observe(c)
    revoked, unexplained = [], []
    for key in unclaimed(c.mark, seen):
        if key.created_at is not None and seen.at - key.created_at < age:
            continue
        if reason := await _why_it_stays(c, seen, key):
            unexplained.append(f"{key.id} ({key.name}): {reason}")
            continue
        await _spend(c, c.mark.rotation_of(key.name))
        _, journal = await observe_decider(c)
        if key.id in journal.keys.values() or await _may_be_held(c, journal, key):
            continue
        if isinstance(c.provider, Pooled):
            await put_back(c, "strays", key)
        else:
            await c.provider.revoke(key)
            c.say("strays", f"{key.id} ({key.name}) is held nowhere: revoked")
        revoked.append(key.id)
    return Strays(tuple(revoked), tuple(unexplained))


async def _spend(c: Assembly, rotation: str) -> None:
    """No value is staged for this rotation any more. Where it is the one that is due next, that gets another id first."""
    secret, store = c.decider
    stages, journal = await observe_decider(c)
    if rotation == rotation_id(c.mark, stages[Stage.CURRENT].fingerprint, journal.attempt):
        await store.annotate(secret, notes(attempt=journal.attempt + 1))
    await store.spend(secret, rotation)


async def _why_it_stays(c: Assembly, seen: Observed, key: KeyRef) -> str:
    known = {*seen.journal.keys, *(version.fingerprint for version in seen.stages.values())}
    served = [version for members in seen.serving.values() for version in members.values()]
    if key.created_at is None:
        return "the provider does not tell its age"
    if key.last_used_at is not None:
        return "nothing claims it, and it has been used"
    if any(version is not None and version.fingerprint not in known for version in served):
        return "a member serves a value that is not known here"
    if None in served and not c.provider.capabilities.reports_last_use:
        return "not every member tells what it serves"
    if await _may_be_held(c, seen.journal, key):
        return "a secret may hold it, and no run has written that down"
    return ""


async def _may_be_held(c: Assembly, journal: Journal, key: KeyRef) -> bool:
    """Whether any stage of any secret holds a value that could be this key, and is not known to be another."""
    for secret, store in c.secrets:
        for version in (await store.stages(secret)).values():
            if key.fingerprint:
                if version.fingerprint == key.fingerprint:
                    return True
                continue
            claimed = journal.keys.get(version.fingerprint, UNKNOWN)
            if claimed == UNKNOWN and (await store.read(secret, version)).may_fit_hint(key.hint):
                return True
    return False
