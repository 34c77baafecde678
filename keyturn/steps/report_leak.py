"""report: a key is said to have leaked. Written down before anything is done about it, so that whoever comes by goes on."""

from __future__ import annotations

from datetime import datetime

from keyturn.assembly import Assembly
from keyturn.journal import Leaked, notes
from keyturn.model import Stage
from keyturn.steps.identify import key_of
from keyturn.steps.observe import observe_decider
from keyturn.steps.one_look import one_look, text_of


async def report_leak(c: Assembly, fingerprint: str, asked: datetime, *, first: bool) -> bool:
    """Note that the value of this fingerprint has leaked, and whether it is to be refused before it has a successor.

    Safe to repeat. There is one such note. The key in service comes before one that is old: False, and nothing is noted,
    where that was reported and this is another.
    """
    stages, journal = await observe_decider(c)
    held = journal.leaked
    if held is not None and held.text == fingerprint and held.first >= first:
        return True
    current = stages.get(Stage.CURRENT)
    if held is not None and current is not None and held.text == current.fingerprint != fingerprint:
        c.say("report", "the key in service was reported, too, and that is what a later run goes on with")
        return False
    key = journal.keys.get(fingerprint, "") or await _looked_up(c, fingerprint)
    secret, store = c.decider
    await store.annotate(secret, notes(leaked=Leaked(asked, first, fingerprint, key)))
    c.say("report", f"{key or 'a key'} was reported as leaked" + (": it is revoked first" if first else ""))
    return True


async def _looked_up(c: Assembly, fingerprint: str) -> str:
    """The id of a key that keyturn did not make. Later it may be gone, and with it what it could be told by."""
    look = await one_look(c)
    secret, store = c.decider
    stages = look.stages if look is not None else await store.stages(secret)
    version = next((each for each in stages.values() if each.fingerprint == fingerprint), None)
    if version is None:
        return ""
    key = await key_of(c, await text_of(c, look, version))
    return key.id if key is not None else ""
