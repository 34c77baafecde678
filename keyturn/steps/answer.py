"""answer: a person was asked whether an old key may be ended, and what they say is written down beside the secret."""

from __future__ import annotations

from keyturn.approval import asked_about
from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.journal import Answered, notes
from keyturn.lifecycle import old_keys
from keyturn.steps.observe import observe_decider


async def answer(c: Assembly, fingerprint: str, *, revoke: bool) -> str:
    """Note it. `fingerprint`: of the value that was asked about; "": of whichever is. Returns that of the value noted.

    Safe to repeat: the same said twice is said once. A no may become a yes. ConflictError for a yes that is to become a no:
    it is acted upon. NotFoundError where nothing is asked, or no longer.
    """
    stages, journal = await observe_decider(c)
    asked = asked_about(c.settings.approval, journal, stages, old_keys(journal, stages))
    open_ = [each for each in asked if fingerprint in ("", each)]
    if not open_:
        raise NotFoundError(
            "no key of this credential waits for an answer" + (", or not that one any more" if fingerprint else ""),
            remedy=f"`keyturn status {c.name}` says where it stands",
        )
    for text in open_:
        said = journal.answered_of(text)
        if said is None or not said.revoke:
            break
    else:
        if not revoke:
            raise ConflictError("the answer was yes, and is acted upon: it cannot be taken back")
        text, said = open_[0], journal.answered_of(open_[0])
    word = "revoke" if revoke else "keep"
    if said is not None and said.revoke == revoke:
        c.say("approve", f"answered already: {word}")
        return text
    secret, store = c.decider
    await store.annotate(secret, notes(answered=Answered(c.now(), revoke, text)))
    c.say("approve", f"answered: {word}")
    return text
