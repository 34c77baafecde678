"""From a body to whose keys have leaked. From here on there are names and fingerprints, and no key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployments.incidents.desk import Desk
from keyturn.errors import NotFoundError, UnavailableError
from keyturn.incident_settings import SourceSettings
from keyturn.incidents import call, generic, gitguardian, github, trufflehog
from keyturn.incidents.leak import Leak, Subject, credential_subject
from keyturn.lifecycle import Policy


@dataclass(frozen=True, slots=True)
class Report:
    """What a request came to. `strange`, `unseen`: as in keyturn.incidents.intake.Found."""

    subjects: tuple[Subject, ...]
    policy: Policy = Policy.CONFIGURED
    strange: int = 0
    unseen: tuple[str, ...] = ()


async def of_caller(desk: Desk, body: bytes) -> Report:
    """NotFoundError for what is not in keyturn.yaml, and for a key that is none of ours."""
    said = call.read(body)
    if said.leak is not None:
        report = replace(await _whose(desk, [said.leak]), policy=said.policy)
        if not report.subjects:
            raise NotFoundError("no store holds that key")
        return report
    credentials = desk.config.credentials
    names = said.credentials or tuple(name for name, each in credentials.items() if each.provider == said.provider)
    if not names or not set(names) <= set(credentials):
        raise NotFoundError("no such name in keyturn.yaml")
    current = await desk.intake.current(names)
    return Report(tuple(credential_subject(name, current.get(name)) for name in names), said.policy)


async def of_source(desk: Desk, name: str, source: SourceSettings, body: bytes) -> Report:
    """UnreadableError for what is not of this scanner's form."""
    leaks = await _leaks(desk, source, body)
    return await _whose(desk, leaks, name, source) if leaks else Report(())


async def _leaks(desk: Desk, source: SourceSettings, body: bytes) -> Sequence[Leak]:
    if source.kind == "trufflehog":
        return await asyncio.to_thread(trufflehog.read, body)
    if source.kind == "generic":
        return await asyncio.to_thread(generic.read, body, source.findings, source.key)
    if source.kind == "gitguardian":
        leak = gitguardian.read(body)
        if leak is not None and not source.hashes:
            leak = replace(leak, digest=None)
        return [leak] if leak is not None else []
    alert = github.read(body)
    if alert is None:
        return []
    leak, lookup = alert
    try:
        return [replace(leak, material=await desk.ask(source, lookup))] if source.api_token else [leak]
    except UnavailableError:
        if leak.type not in source.types:
            raise
        return [leak]  # whose key it may be is known by its type; that is no time to wait for GitHub


async def _whose(desk: Desk, leaks: Sequence[Leak], name: str = "", source: SourceSettings | None = None) -> Report:
    found = await desk.intake.whose(leaks, name, source.types if source else None)
    if found.strange and found.unseen and not found.subjects:
        raise UnavailableError("the stores did not tell in time whether a reported key is theirs")
    return Report(found.subjects, strange=found.strange, unseen=found.unseen)
