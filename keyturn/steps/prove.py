"""prove: ask every member, and the provider, for evidence that the old key is no longer served."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.errors import EvidenceMissingError, IndeterminateError, KeyturnError, RetryableError
from keyturn.journal import UNKNOWN, Journal, notes
from keyturn.lifecycle import old_keys
from keyturn.model import Evidence, KeyRef, Member, MemberEvidence, Verdict, VersionRef
from keyturn.steps.observe import observe_decider, promoted_by_us

# A provider's clock and ours differ a little, and some round to the second.
CLOCK_SKEW = timedelta(seconds=2)

# A throttled canary, or a proxy that cools a deployment down for five seconds, deserves to be asked again.
SECOND_LOOKS = 3
SECOND_LOOK_AFTER = 6.0  # seconds


async def prove(c: Assembly, overlap: timedelta) -> Evidence:
    """Gather the evidence, and where it is complete write down when, and from when on the old key may be revoked.

    EvidenceMissingError, which names each member that does not count and why. ConflictError when CURRENT is a person's.
    """
    for looks_left in range(SECOND_LOOKS, -1, -1):
        stages, journal = await observe_decider(c)
        version = promoted_by_us(stages, journal)
        evidence = await gather_evidence(c, version, journal, old_keys(journal, stages))
        if all(member.counts for member in evidence.members) or not looks_left:
            break
        await c.pause(SECOND_LOOK_AFTER)
    for member in evidence.members:
        c.say("prove", f"{member.fleet}/{member.member}: {member.reason}")
    for missing in evidence.missing:
        c.say("prove", f"missing: {missing}")
    demand_complete(evidence, of_members_only=True)
    secret, store = c.decider
    proved = c.now()
    await store.annotate(secret, notes(about=version.fingerprint, proved_at=proved, retire_after=proved + overlap))
    return evidence


def demand_complete(evidence: Evidence, *, of_members_only: bool = False) -> None:
    """EvidenceMissingError with every reason, unless the evidence is complete."""
    reasons = [f"{m.fleet}/{m.member}: {m.reason}" for m in evidence.members if not m.counts]
    if not evidence.members:
        reasons.append("no member of any fleet was asked")
    if not of_members_only:
        reasons += evidence.refusals
    if reasons:
        raise EvidenceMissingError(
            "the old key is kept: " + "; ".join(reasons),
            remedy="mend the member or stop what uses the old key, then run again; a key in service that the provider "
            "refuses is replaced by a rotation with the reason incident",
        )


async def gather_evidence(c: Assembly, version: VersionRef, journal: Journal, old: Mapping[str, str]) -> Evidence:
    """Whether every member serves this version, and the provider's word on the old keys. Nothing is assumed.

    `old`: fingerprint -> key id, as `Observed.old_keys`.
    """
    asked = [(fleet, member) for fleet in c.fleets for member in await c.fleets[fleet].members()]
    members = await asyncio.gather(*(_ask(c, fleet, member, version) for fleet, member in asked))
    words = [await _word_on(c, journal, key) for key in old.values()]
    found = {word.idle for word in words}
    return Evidence(
        members=tuple(members),
        last_used_at=max((word.last_used_at for word in words if word.last_used_at), default=None),
        idle=False if False in found else None if None in found or not found else True,
        missing=tuple(word.missing for word in words if word.missing),
        refusals=tuple(word.refusal for word in words if word.refusal),
    )


async def _ask(c: Assembly, fleet: str, member: Member, version: VersionRef) -> MemberEvidence:
    serving = await c.fleets[fleet].serving(member, c.name)
    if serving != version:
        what = "cannot be asked which key it serves" if serving is None else "serves another key than the current one"
        return MemberEvidence(fleet, member.name, False, what, c.now())
    try:
        found = await c.canaries[fleet].member(member)
    except KeyturnError as error:
        return MemberEvidence(fleet, member.name, False, error.message, c.now())
    counts = found.verdict is Verdict.ACCEPTED
    return MemberEvidence(fleet, member.name, counts, f"serves the current key; {found.reason}", c.now())


@dataclass(frozen=True, slots=True)
class _Word:
    """What the provider says about the use of one old key: idle, or what is missing to say so, or what speaks against."""

    last_used_at: datetime | None = None
    idle: bool | None = None
    missing: str = ""
    refusal: str = ""


async def _word_on(c: Assembly, journal: Journal, key: str) -> _Word:
    """Idle is: no use since the roll, or since a use after the roll was found and watched from then on."""
    can = c.provider.capabilities
    if key == UNKNOWN:
        return _Word(missing="the old key's id at the provider is not known: its last use cannot be looked up")
    if not can.reports_last_use:
        return _Word(missing="the provider does not report a key's last use")
    try:
        last = await _last_used(c, key)
    except KeyturnError as error:
        return _Word(missing=f"the provider's report of the last use: {error.message}")
    since = journal.watched_from or journal.rolled_at
    if since is None:
        return _Word(last, missing="the time of the roll was not written down")
    if last is not None and last > since + CLOCK_SKEW:
        when = "it was last seen used" if journal.watched_from else "the roll"
        return _Word(last, False, refusal=f"the provider saw the old key used at {_clock(last)}, after {when}")
    if c.now() < since + can.usage_lag:
        lag = f"the provider may report a use up to {int(can.usage_lag.total_seconds())} s late: that time is not over"
        # A key of which a use was seen is not believed idle before its silence could be seen too.
        return _Word(last, refusal=lag) if journal.watched_from else _Word(last, missing=lag)
    return _Word(last, True)


async def _last_used(c: Assembly, key: str) -> datetime | None:
    """A failure that may pass is no reason to do without the provider's word."""
    for _ in range(SECOND_LOOKS):
        try:
            return await c.provider.last_used(KeyRef(key, ""))
        except (RetryableError, IndeterminateError):
            await c.pause(SECOND_LOOK_AFTER)
    return await c.provider.last_used(KeyRef(key, ""))


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
