"""prove: ask every member, and the provider, for evidence that the old key is no longer served."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.errors import EvidenceMissingError, KeyturnError
from keyturn.journal import Journal, notes
from keyturn.model import Evidence, KeyRef, Member, MemberEvidence, Verdict, VersionRef

# A provider's clock and ours differ a little, and some round to the second.
CLOCK_SKEW = timedelta(seconds=2)

# A throttled canary, or a proxy that cools a deployment down for five seconds, deserves to be asked again.
SECOND_LOOKS = 3
SECOND_LOOK_AFTER = 6.0  # seconds


async def prove(c: Assembly, overlap: timedelta) -> Evidence:
    """Gather the evidence, and where it is complete write down when, and from when on the old key may be revoked.

    EvidenceMissingError, which names each member that does not count and why.
    """
    secret, store = c.decider
    evidence = await gather_evidence(c)
    for _ in range(SECOND_LOOKS):
        if all(member.counts for member in evidence.members):
            break
        await c.pause(SECOND_LOOK_AFTER)
        evidence = await gather_evidence(c)
    for member in evidence.members:
        c.say("prove", f"{member.fleet}/{member.member}: {member.reason}")
    for missing in evidence.missing:
        c.say("prove", f"missing: {missing}")
    demand_complete(evidence, of_members_only=True)
    proved = c.now()
    await store.annotate(secret, notes(proved_at=proved, retire_after=proved + overlap))
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
            remedy="mend the member or stop what uses the old key, then run again",
        )


async def gather_evidence(c: Assembly) -> Evidence:
    """Every member's answer, and the provider's word on the old key. Nothing is assumed."""
    secret, store = c.decider
    version = (await store.current(secret)).version
    journal = Journal.parse(await store.annotations(secret))
    asked = [(fleet, member) for fleet in c.fleets for member in await c.fleets[fleet].members()]
    members = await asyncio.gather(*(_ask(c, fleet, member, version) for fleet, member in asked))
    last_used, idle, missing, refusals = await _old_key_idle(c, journal)
    return Evidence(tuple(members), last_used, idle, missing, refusals)


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


async def _old_key_idle(
    c: Assembly, journal: Journal
) -> tuple[datetime | None, bool | None, tuple[str, ...], tuple[str, ...]]:
    """(last use, idle since the roll, what is missing, what speaks against)."""
    can = c.provider.capabilities
    if not journal.previous_key:
        return None, None, ("the old key's id at the provider is not known: its last use cannot be looked up",), ()
    if not can.reports_last_use:
        return None, None, ("the provider does not report a key's last use",), ()
    try:
        last = await c.provider.last_used(KeyRef(journal.previous_key, ""))
    except KeyturnError as error:
        return None, None, (f"the provider's report of the last use: {error.message}",), ()
    since = journal.rolled_at
    if since is None:
        return last, None, ("the time of the roll was not written down",), ()
    if last is not None and last > since + CLOCK_SKEW:
        return last, False, (), (f"the provider saw the old key used at {last:%Y-%m-%d %H:%M:%S} UTC, after the roll",)
    if c.now() < since + can.usage_lag:
        lag = int(can.usage_lag.total_seconds())
        return last, None, (f"the provider may report a use up to {lag} s late: that time is not over",), ()
    return last, True, (), ()
