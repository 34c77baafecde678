"""revoke: after the overlap check the evidence again, delete the old key, and see it refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyturn.assembly import Assembly
from keyturn.errors import IndeterminateError, NotFoundError
from keyturn.journal import Journal, notes
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Stage, Verdict
from keyturn.steps.prove import demand_complete, gather_evidence

FIRST_PAUSE = 0.5  # seconds; doubled each time
LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Revoked:
    """What became of the old key. `refused_at`: when the provider was first seen to refuse it; None: not seen."""

    key: str
    refused_at: datetime | None
    sentence: str


async def revoke(c: Assembly) -> Revoked:
    """Demand the evidence anew, revoke, and wait until the provider refuses the old key.

    EvidenceMissingError while something speaks against it. IndeterminateError when the provider still accepts the key
    after its propagation budget. Safe to repeat: a key that is gone already counts as revoked, and is still tried.
    """
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    if not journal.previous_fingerprint:
        return Revoked("", None, "there is no old key to revoke")
    demand_complete(await gather_evidence(c))
    if not journal.previous_key:
        return await _leave_to_a_person(c)
    stages = await store.stages(secret)
    previous = stages.get(Stage.PREVIOUS)
    material = None
    if previous is not None and previous.fingerprint == journal.previous_fingerprint:
        material = await store.read(secret, previous)
    _refuse_to_revoke_current(journal)
    await c.provider.revoke(KeyRef(journal.previous_key, ""))
    c.say("revoke", f"deleted {journal.previous_key}")
    refused_at = await _until_refused(c, material) if material else None
    await _close(c, journal)
    if material is None:
        return Revoked(journal.previous_key, None, "revoked; its text was no longer held, so its refusal was not tried")
    return Revoked(journal.previous_key, refused_at, "revoked, and refused by the provider")


def _refuse_to_revoke_current(journal: Journal) -> None:
    """The last fence: whatever else went wrong, the key in service is not deleted."""
    if journal.previous_key == journal.current_key or journal.previous_fingerprint == journal.current_fingerprint:
        raise NotFoundError("the old key is the one in service: not revoked", remedy="look at `keyturn status --json`")


async def _until_refused(c: Assembly, material: KeyMaterial) -> datetime:
    begun, pause = c.now(), FIRST_PAUSE
    while True:
        found = await c.provider.check(material)
        if found.verdict is Verdict.REJECTED:
            c.say("revoke", f"the old key is refused: {found.reason}")
            return c.now()
        if c.now() - begun >= c.propagation:
            raise IndeterminateError(
                f"the old key was deleted and is not seen to be refused: {found.reason}",
                remedy="run `keyturn retire` again; if it stays so, look at the provider's console",
            )
        await c.pause(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _leave_to_a_person(c: Assembly) -> Revoked:
    """Never guess which key to delete."""
    secret, store = c.decider
    await store.annotate(secret, notes(previous_fingerprint=None, previous_key=None, retire_after=None))
    sentence = "the old key could not be matched to a key at the provider: delete it there by hand"
    c.say("revoke", sentence)
    return Revoked("", None, sentence)


async def _close(c: Assembly, journal: Journal) -> None:
    """Drop the dead value from every store, then the notes about it: a run that dies between does this again."""
    for each, where in c.secrets:
        previous = (await where.stages(each)).get(Stage.PREVIOUS)
        if previous is not None and previous.fingerprint == journal.previous_fingerprint:
            await where.discard(each, previous)
    secret, store = c.decider
    await store.annotate(secret, notes(previous_key=None, previous_fingerprint=None, retire_after=None, retired_at=c.now()))
