"""take_back: the rollback. PREVIOUS becomes CURRENT again; what has to be rolled and proved then is as after any promote."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError, RejectedError, UndecidedError
from keyturn.journal import Journal, notes, words
from keyturn.model import SecretRef, Stage, Verdict, VersionRef
from keyturn.ports import SecretStore
from keyturn.steps.follow import follow
from keyturn.steps.observe import observe_decider
from keyturn.steps.promote import write_down

_TRIES = 3  # against workers that were stalled, each of which has one promote to make


async def take_back(c: Assembly, why: str, *, for_good: bool = False) -> None:
    """Swap in every secret, the deciding one first, to a value that the provider accepts. Safe to repeat.

    `for_good`: the value that is taken back is not tried again, and nothing is begun by itself any more (`why` is noted
    for it) until a person rotates.

    NotFoundError where no previous value is held, RejectedError where the provider refuses it: there is no way back.
    UndecidedError where the provider cannot tell.
    """
    if for_good:
        secret, store = c.decider
        await store.annotate(secret, notes(parked=words(f"rolled back: {why}")))
    for tries_left in range(_TRIES, -1, -1):
        stages, journal = await observe_decider(c)
        current = stages[Stage.CURRENT]
        if not was_taken_back(journal, current):
            previous = stages.get(Stage.PREVIOUS)
            if previous is None:
                raise NotFoundError(
                    "there is no previous value to go back to: its overlap is over",
                    remedy=f"`keyturn rotate {c.name}` makes a new key",
                )
            await _swap(c, previous, current, journal)
            current = previous
        await follow(c, current)
        await write_down(c, "rollback", current, c.now())
        if not for_good or await _discard(c, (await observe_decider(c))[1].back_from):
            return
        if not tries_left:
            raise ConflictError("the key that is taken back is promoted again and again", remedy="look who does that")


def was_taken_back(journal: Journal, current: VersionRef) -> bool:
    """Whether CURRENT is what a rollback went back to, also where the rollback died before it wrote that down."""
    ours = current.fingerprint in (journal.current_fingerprint, *journal.keys)
    return ours and journal.back_from not in ("", current.fingerprint)


async def _swap(c: Assembly, previous: VersionRef, current: VersionRef, journal: Journal) -> None:
    secret, store = c.decider
    await _demand_accepted(c, secret, store, previous)
    # First: from here on nobody takes the value for one that was never in service, nor uses its rotation's id again.
    await store.annotate(secret, notes(back_from=current.fingerprint, attempt=journal.attempt + 1))
    await store.promote(secret, previous, current)
    c.say("rollback", f"{secret} is the previous key again")


async def _demand_accepted(c: Assembly, secret: SecretRef, store: SecretStore, previous: VersionRef) -> None:
    found = await c.judge(await store.read(secret, previous))
    if found.verdict is Verdict.REJECTED:
        raise RejectedError(
            f"there is no way back: the previous key is refused: {found.reason}",
            remedy="mend the members and run the rotation again: it goes on forward",
        )
    if found.verdict is Verdict.INDETERMINATE:
        raise UndecidedError(f"whether the previous key still works could not be told: {found.reason}")


async def _discard(c: Assembly, fingerprint: str) -> bool:
    """After this no promote of the value succeeds. False: a worker that was stalled has just promoted it once more."""
    try:
        for secret, store in c.secrets:
            await store.discard(secret, VersionRef("", fingerprint))
    except ConflictError:
        return False
    return True
