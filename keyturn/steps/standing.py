"""Where one credential stands, for looking only: what cannot be seen is named, and nothing is raised for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keyturn.assembly import Assembly
from keyturn.lifecycle import Asked, Decision, Observed, Step, decide
from keyturn.model import KeyRef
from keyturn.steps.observe import observe_leniently
from keyturn.steps.strays import unclaimed


@dataclass(frozen=True, slots=True)
class Standing:
    """What is seen, and what a run asked for like this would do. `strays`: see `unclaimed`.

    `held_up`: why a run that a schedule begins would wait for the environment before (keyturn.order), where that was asked.
    """

    credential: str
    seen: Observed
    decision: Decision
    strays: tuple[KeyRef, ...]
    held_up: str = ""
    held_up_for_long: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the secret and its notes could be read: without them nothing is known."""
        return self.decision.check != "unseen"


async def standing(c: Assembly, asked: Asked) -> Standing:
    """Observe one credential and decide."""
    seen = await observe_leniently(c)
    if any(problem.startswith(("store: ", "notes: ")) for problem in seen.problems):
        decision = Decision(Step.STOP, "unseen", "not known: the secret could not be read")
    else:
        decision = decide(seen, replace(asked, approval=c.settings.approval))
    return Standing(c.name, seen, decision, unclaimed(c.mark, seen))
