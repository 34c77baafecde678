"""Whether a value is in service, or was until a moment ago: asked before a key is revoked that was never an old one."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.journal import Journal
from keyturn.steps.observe import observe_serving


async def in_service(c: Assembly, fingerprint: str) -> str:
    """Where, in words for a timeline; empty where it is nowhere to be seen.

    A rollback makes CURRENT what it was before, so that an unchanged CURRENT does not tell that nothing was promoted in
    between: it writes down which value it takes back, before it does.
    """
    for secret, store in c.secrets:
        if (await store.current(secret)).version.fingerprint == fingerprint:
            return f"{secret} tells the proxies to use it"
    secret, store = c.decider
    if Journal.parse(await store.annotations(secret)).back_from == fingerprint:
        return "it is being taken back from the members"
    for fleet, members in (await observe_serving(c)).items():
        for member, version in members.items():
            if version is not None and version.fingerprint == fingerprint:
                return f"{fleet}/{member} serves it"
    return ""
