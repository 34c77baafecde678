"""preflight: before anything is created, ask every part whether it will let the rotation through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError, PermanentError, RetryableError
from keyturn.model import Finding, Stage
from keyturn.ports import Pooled, TwoSlots
from keyturn.steps.in_place import in_place, told_of
from keyturn.steps.observe import observe_decider


class PreflightError(PermanentError):
    """Something would stop the rotation half-way. Nothing was created. `findings`: what is not well."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"{f.what}: {f.detail}" + (f" Remedy: {f.remedy}" if f.remedy else "") for f in findings]
        super().__init__("nothing was created; " + " | ".join(lines))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one part said: its findings, or the error it raised, which is a finding itself."""

    what: str
    findings: Sequence[Finding] = ()
    error: KeyturnError | None = None

    @property
    def told(self) -> Sequence[Finding]:
        if self.error is None:
            return self.findings
        return [Finding(self.what, False, self.error.message, self.error.remedy)]


async def preflight(c: Assembly) -> None:
    """Raise PreflightError with every finding that is not well, all at once.

    RetryableError while a fleet is busy: another credential of it is being rolled, which passes.
    """
    fleets, others, room = await asyncio.gather(_fleets(c), _others(c), _ask("room for another key", _room(c)))
    others.append(room)
    for answer in fleets:
        if isinstance(answer.error, RetryableError):
            c.say("preflight", f"waits: {answer.error.message}")
            raise answer.error
    findings = [finding for answer in (*others, *fleets) for finding in answer.told]
    bad = [finding for finding in findings if finding.ok is False]
    for finding in findings:
        if finding.ok is None:
            c.say("preflight", f"{finding.what}: could not tell. {finding.detail}")
    if bad:
        raise PreflightError(bad)
    c.say("preflight", f"{len(findings)} checks, nothing in the way")


async def examine(c: Assembly) -> list[Finding]:
    """Every finding about this credential's parts, good ones too. An adapter that raises is a finding itself."""
    others, fleets = await asyncio.gather(_others(c), _fleets(c))
    if isinstance(c.provider, Pooled):
        others.append(await _ask("pool", _pool(c, c.provider)))
    return [finding for answer in (*others, *fleets) for finding in answer.told]


async def _others(c: Assembly) -> list[_Answer]:
    asked = [_ask(f"provider {c.settings.provider}", c.provider.preflight())]
    asked += [_ask(f"secret {secret}", store.preflight(secret)) for secret, store in c.secrets]
    asked += [_ask(f"canary {name}", canary.preflight()) for name, canary in c.canaries.items()]
    return [_Answer("in place", told_of(c)), *await asyncio.gather(*asked)]


async def _room(c: Assembly) -> Sequence[Finding]:
    """Whether the provider takes one more key. (Where it has two slots, one of them is made anew.) A rotation that has its
    key already needs none; and one that a run died with is revoked before the next is made (`create`)."""
    can = c.provider.capabilities
    if isinstance(c.provider, Pooled):
        return await _pool(c, c.provider)
    if can.max_live_keys is None or not can.can_list or isinstance(c.provider, TwoSlots):
        return []
    if in_place(c) is not None:
        stages, journal = await observe_decider(c)
        if Stage.CURRENT in stages and journal.turned_from(stages[Stage.CURRENT].fingerprint) is None:
            return []
    keys = await c.provider.list()
    what = f"there is room for another key: at most {can.max_live_keys}"
    if len(keys) < can.max_live_keys:
        return [Finding(what, True)]
    stages, journal = await observe_decider(c)
    previous = stages.get(Stage.PREVIOUS)
    if Stage.PENDING in stages or (previous is not None and previous.fingerprint == journal.back_from):
        return [Finding(what, None, "the rotation that is under way has its key")]
    if lost := [key.id for key in keys if c.mark.is_ours(key.name) and key.id not in journal.keys.values()]:
        return [Finding(what, None, f"a run made {', '.join(lost)} and did not write it: it is revoked first")]
    told = ", ".join(f"{key.id} ({key.name})" if key.name else key.id for key in keys)
    return [Finding(what, False, f"there are {told}", "delete the one that nothing uses, or retire the last rotation's")]


async def _pool(c: Assembly, pool: Pooled) -> Sequence[Finding]:
    """Whether there is a key for the next rotation. One that is under way has its own already."""
    what = "the pool has a key for the next rotation"
    entries = await pool.entries()
    if any(pool.may_take(entry) for entry in entries):
        return [Finding(what, True)]
    stages, journal = await observe_decider(c)
    ours = [entry.key for entry in entries if entry.key is not None and c.mark.is_ours(entry.key.name)]
    if Stage.PENDING in stages or any(key.fingerprint not in journal.keys for key in ours):
        return [Finding(what, None, "its last one was taken for a rotation that is not finished")]
    remedy = f"make keys in the vendor's console, and give them to `keyturn pool add {c.name}`"
    return [Finding(what, False, "it has none that is free and lives long enough", remedy)]


async def _fleets(c: Assembly) -> list[_Answer]:
    asked = [_ask(f"proxies {name}", fleet.preflight(c.name)) for name, fleet in c.fleets.items()]
    asked += [_ask(f"counters of {name}", _counters(c, name)) for name in c.traffic]
    return list(await asyncio.gather(*asked))


async def _counters(c: Assembly, fleet: str) -> Sequence[Finding]:
    """Whether each member tells how many requests it has failed. What it tells is looked at when a wave bakes."""
    members = await c.fleets[fleet].members()
    await asyncio.gather(*(c.traffic[fleet].counted(each) for each in members))
    return [Finding(f"{fleet}: requests are counted", True)]


async def _ask(what: str, call: Awaitable[Sequence[Finding]]) -> _Answer:
    try:
        return _Answer(what, await call)
    except KeyturnError as error:
        return _Answer(what, error=error)
