"""validate: the canary decides whether the new key may be promoted."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import NotFoundError, RejectedError, UndecidedError
from keyturn.model import Stage, Verdict
from keyturn.steps.observe import Turn, observe_decider
from keyturn.steps.one_look import one_look, stages_and_journal, text_of

FIRST_PAUSE = 1.0  # seconds; doubled each time
LONGEST_PAUSE = 15.0
UNDECIDED_TRIES = 4


async def validate(c: Assembly, turn: Turn) -> None:
    """Return when the canary accepts PENDING, or when another worker has promoted it meanwhile.

    A fresh key's REJECTED is believed only after the provider's propagation budget: RejectedError. UndecidedError when
    the canary cannot tell; nothing is undone for that, and the next run goes on here.
    """
    look = await one_look(c)
    stages, journal = await (observe_decider(c) if look is None else stages_and_journal(c, look))
    pending, current = stages.get(Stage.PENDING), stages.get(Stage.CURRENT)
    if pending is None or pending.id != turn.rotation:
        if current is not None and current != turn.seen.current and current.fingerprint in journal.keys:
            c.say("validate", "another run has promoted a new key meanwhile")
            return
        raise NotFoundError("the staged value is gone", remedy="run the rotation again")
    material = await text_of(c, look, pending)
    begun, pause, undecided = c.now(), FIRST_PAUSE, 0
    while True:
        found = await c.canary.candidate(material)
        c.say("validate", f"{found.verdict.value}: {found.reason}")
        if found.verdict is Verdict.ACCEPTED:
            return
        if found.verdict is Verdict.REJECTED and c.now() - begun >= c.propagation:
            raise RejectedError(
                f"the provider refuses the new key: {found.reason}", remedy="check the key's project and scopes"
            )
        if found.verdict is Verdict.INDETERMINATE:
            undecided += 1
            # While a key propagates, one route may accept it and another not yet: that is no reason to stop early.
            if undecided >= UNDECIDED_TRIES and c.now() - begun >= c.propagation:
                raise UndecidedError(
                    f"the canary could not tell: {found.reason}", remedy="run again later: it goes on with the same key"
                )
        await c.pause(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
