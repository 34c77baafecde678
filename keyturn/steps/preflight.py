"""preflight: before anything is created, ask every part whether it will let the rotation through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, PermanentError
from keyturn.model import Finding


class PreflightError(PermanentError):
    """Something would stop the rotation half-way. Nothing was created. `findings`: what is not well."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"{f.what}: {f.detail}" + (f" Remedy: {f.remedy}" if f.remedy else "") for f in findings]
        super().__init__("nothing was created; " + " | ".join(lines))


async def preflight(c: Assembly) -> None:
    """Raise PreflightError with every finding that is not well, all at once."""
    findings = await examine(c)
    bad = [finding for finding in findings if finding.ok is False]
    for finding in findings:
        if finding.ok is None:
            c.say("preflight", f"{finding.what}: could not tell. {finding.detail}")
    if bad:
        raise PreflightError(bad)
    c.say("preflight", f"{len(findings)} checks, nothing in the way")


async def examine(c: Assembly) -> list[Finding]:
    """Every finding about this credential's parts, good ones too. An adapter that raises is a finding itself."""

    async def one(what: str, call: object) -> Sequence[Finding]:
        try:
            return await call  # type: ignore[no-any-return,misc]  # each is a coroutine of findings
        except KeyturnError as error:
            return [Finding(what, False, error.message, error.remedy)]

    asked = [one(f"provider {c.settings.provider}", c.provider.preflight())]
    asked += [one(f"secret {secret}", store.preflight(secret)) for secret, store in c.secrets]
    asked += [one(f"proxies {name}", fleet.preflight(c.name)) for name, fleet in c.fleets.items()]
    asked += [one(f"canary {name}", canary.preflight()) for name, canary in c.canaries.items()]
    return [finding for findings in await asyncio.gather(*asked) for finding in findings]
