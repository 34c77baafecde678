"""prove: ask every member, and the provider, for evidence that the old key is no longer served."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.errors import EvidenceMissingError, IndeterminateError, KeyturnError, RetryableError, RollFailedError
from keyturn.evidence import Evidence, MemberEvidence, Rule, Waiver, against
from keyturn.journal import NO_FAILURE, Journal, is_unknown, notes, words
from keyturn.lifecycle import old_keys
from keyturn.model import KeyRef, Member, Stage, Verdict, VersionRef
from keyturn.steps.in_place import is_shared, shares_its_key
from keyturn.steps.observe import observe_decider, promoted_by_us
from keyturn.steps.take_back import was_taken_back
from keyturn.steps.workloads import replacing, rollout_of, unrolled_of

# A provider's clock and ours differ a little, and some round to the second.
CLOCK_SKEW = timedelta(seconds=2)

# A throttled canary, or a proxy that cools a deployment down for five seconds, deserves to be asked again.
SECOND_LOOKS = 3
SECOND_LOOK_AFTER = 6.0  # seconds

_RULES = {Verdict.ACCEPTED: Rule.ANSWERED, Verdict.REJECTED: Rule.REFUSED, Verdict.INDETERMINATE: Rule.UNANSWERED}


async def prove(c: Assembly, overlap: timedelta) -> tuple[Evidence, ...]:
    """Gather the evidence on each old key, and where it is complete write down when, and from when on it may be revoked.

    EvidenceMissingError, which names each member that does not count and why; RollFailedError where the provider refuses
    what one of them serves. ConflictError when CURRENT is a person's.
    """
    for looks_left in range(SECOND_LOOKS, -1, -1):
        stages, journal = await observe_decider(c)
        version = promoted_by_us(stages, journal)
        # The provider is asked meanwhile: neither answer hangs on the other.
        members, found = await asyncio.gather(ask_members(c, version), _words_on(c, journal, old_keys(journal, stages)))
        if all(member.counts for member in members) or not looks_left:
            break
        await c.pause(SECOND_LOOK_AFTER)
    c.evidence[:] = [replace(word, members=members) for word in found] or [Evidence(members, rolled_at=journal.rolled_at)]
    for member in members:
        c.say("prove", f"{member.fleet}/{member.member}: {member.reason}")
    missing = tuple(each for word in found for each in word.missing)
    for each in missing:
        c.say("prove", f"missing: {each}")
    refused = [f"{member.fleet}/{member.member}: {member.reason}" for member in members if member.rule is Rule.REFUSED]
    if refused:
        raise RollFailedError("; ".join(refused), remedy="look at the provider's console: who has deleted the new key?")
    demand_complete(Evidence(members))
    secret, store = c.decider
    proved = c.now()
    # That the previous key is served again does not make good what failed with the new one.
    settled = {} if was_taken_back(journal, version) else NO_FAILURE
    times = notes(about=version.fingerprint, proved_at=proved, retire_after=_end(journal, stages, proved + overlap))
    await store.annotate(secret, {**times, **notes(proof=words(c.evidence[0].note())), **settled})
    return tuple(c.evidence)


async def _words_on(c: Assembly, journal: Journal, old: Mapping[str, str]) -> list[Evidence]:
    return [await word_on(c, journal, key, shared=await is_shared(c, key, each)) for each, key in old.items()]


def _end(journal: Journal, stages: Mapping[Stage, VersionRef], overlap_ends: datetime) -> datetime:
    """A text whose key has another one by now ends by itself, and no sooner."""
    turned = journal.turned
    if turned is None or turned.text not in old_keys(journal, stages):
        return overlap_ends
    shared = shares_its_key(journal, stages, turned.key, turned.text)
    return max(overlap_ends, turned.ends) if shared else overlap_ends


def demand_complete(*found: Evidence, waiver: Waiver | None = None) -> None:
    """EvidenceMissingError with every reason, unless each is complete, or what it lacks is waived."""
    reasons = against(found, waiver)
    if reasons:
        raise EvidenceMissingError(
            "the old key is kept: " + "; ".join(reasons),
            remedy="mend the member or stop what uses the old key, then run again; a key in service that the provider "
            "refuses is replaced by a rotation with the reason incident",
        )


async def ask_members(c: Assembly, version: VersionRef) -> tuple[MemberEvidence, ...]:
    """Whether every member of every fleet serves this version, and answers with it. Nothing is assumed.

    Of a workload that was not rolled since, no member can be believed: it is a line of its own.
    """
    asked = [(fleet, member) for fleet in c.fleets for member in await c.fleets[fleet].members()]
    return (
        *await asyncio.gather(*(_ask(c, fleet, member, version) for fleet, member in asked)),
        *await _unrolled(c, version),
    )


async def _unrolled(c: Assembly, version: VersionRef) -> list[MemberEvidence]:
    why, found = "was not rolled since the current key was promoted", list[MemberEvidence]()
    for fleet, adapter in replacing(c):
        rollout = rollout_of((await observe_decider(c))[1], version)
        for workload in await unrolled_of(c, adapter, rollout):
            found.append(MemberEvidence(fleet, workload, Rule.UNROLLED, why, c.now()))
    return found


async def _ask(c: Assembly, fleet: str, member: Member, version: VersionRef) -> MemberEvidence:
    serving = await c.fleets[fleet].serving(member, c.name)
    if serving != version:
        rule = Rule.UNKNOWN if serving is None else Rule.OTHER
        what = "cannot be asked which key it serves" if serving is None else "serves another key than the current one"
        return MemberEvidence(fleet, member.name, rule, what, c.now())
    try:
        found = await c.canaries[fleet].member(member)
    except KeyturnError as error:
        return MemberEvidence(fleet, member.name, Rule.UNANSWERED, error.message, c.now())
    return MemberEvidence(fleet, member.name, _RULES[found.verdict], f"serves the current key; {found.reason}", c.now())


async def word_on(c: Assembly, journal: Journal, key: str, *, shared: bool = False) -> Evidence:
    """The provider's word on the use of one old key (no members are asked for it). `shared`: CURRENT is a text of it, too.

    Idle is: no use since the roll, or since a use after the roll was found and watched from then on.
    """
    found = await _word_on(c, journal, key, shared)
    return replace(found, key=key, rolled_at=journal.rolled_at)


async def _word_on(c: Assembly, journal: Journal, key: str, shared: bool) -> Evidence:
    can = c.provider.capabilities
    if is_unknown(key):
        return Evidence(missing=("the old key's id at the provider is not known: its last use cannot be looked up",))
    if shared:
        return Evidence(missing=("the old text and the current one are of one key, whose use is told as one",))
    if not can.reports_last_use:
        return Evidence(missing=("the provider does not report a key's last use",))
    try:
        last = await _last_used(c, key)
    except KeyturnError as error:
        return Evidence(missing=(f"the provider's report of the last use: {error.message}",))
    since = journal.watched_from or journal.rolled_at
    if since is None:
        return Evidence(last_used_at=last, missing=("the time of the roll was not written down",))
    if last is not None and last > since + CLOCK_SKEW:
        when = "it was last seen used" if journal.watched_from else "the roll"
        used = f"the provider saw the old key used at {_clock(last)}, after {when}"
        return Evidence(last_used_at=last, idle=False, refusals=(used,))
    if c.now() < since + can.usage_lag:
        lag = (f"the provider may report a use up to {int(can.usage_lag.total_seconds())} s late: that time is not over",)
        # A key of which a use was seen is not believed idle before its silence could be seen too.
        return (
            Evidence(last_used_at=last, refusals=lag) if journal.watched_from else Evidence(last_used_at=last, missing=lag)
        )
    return Evidence(last_used_at=last, idle=True)


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
