"""observe: read the store's stages, the journal, the provider's keys and the fleets; decide where the rotation stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, KeyturnError, RetryableError
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Decision, Observed, decide
from keyturn.model import KeyRef, Serving, Stage, VersionRef, rotation_id
from keyturn.ports import TwoSlots
from keyturn.steps.one_look import one_look
from keyturn.steps.workloads import unrolled

T = TypeVar("T")

_PROMOTED = ("promoted_unrecorded", "unrolled", "unproved", "drifted", "overdue", "incident_overlap")


@dataclass(frozen=True, slots=True)
class Turn:
    """One rotation as it stood when it was observed. Every later step is given it, and looks again itself."""

    credential: str
    rotation: str  # a UUID: the token of the staged version
    label: str  # the name of this rotation's key at the provider
    asked: Asked
    decision: Decision
    seen: Observed


async def begin(c: Assembly, asked: Asked) -> Turn:
    """Observe and decide. Raises what the store or the provider raises; a silent fleet is 'unknown', not an error."""
    seen = await observe(c)
    asked = replace(asked, patience=c.patience, approval=c.settings.approval)
    decision = decide(seen, asked)
    c.say("observe", decision.sentence)
    rotation = _rotation(c, seen, decision)
    return Turn(c.name, rotation, c.mark.label(rotation), asked, decision, seen)


def _rotation(c: Assembly, seen: Observed, decision: Decision) -> str:
    """PENDING bears its rotation's id. Once promoted, a rotation is named by the journal: CURRENT tells it no longer."""
    pending = seen.stages.get(Stage.PENDING)
    if decision.check == "staged" and pending is not None:
        return pending.id
    if decision.check in _PROMOTED and seen.journal.rotation:
        return seen.journal.rotation
    return rotation_id(c.mark, seen.current.fingerprint if seen.current else "", seen.journal.attempt)


async def observe(c: Assembly) -> Observed:
    """All observations at once: none waits for another."""
    (stages, journal), further, keys, serving = await asyncio.gather(
        observe_decider(c), _further(c), _keys_if_listed(c), observe_serving(c)
    )
    room, stale = _room(c, stages, keys, serving), await unrolled(c, journal, stages.get(Stage.CURRENT))
    return Observed(c.now(), stages, journal, keys, serving, _lagging(stages, further), stale, room)


async def observe_decider(c: Assembly) -> tuple[Mapping[Stage, VersionRef], Journal]:
    """The deciding secret's stages and journal.

    The journal is read first: a value is staged before its key is written down, so one that the journal knows and no
    stage holds any more has been and gone, and is not about to come.
    """
    if (look := await one_look(c)) is not None:
        return look.stages, Journal.parse(look.notes)
    secret, store = c.decider
    journal = Journal.parse(await store.annotations(secret))
    return await store.stages(secret), journal


def promoted_by_us(stages: Mapping[Stage, VersionRef], journal: Journal) -> VersionRef:
    """CURRENT. ConflictError when it is a value that no rotation of ours made."""
    current = stages.get(Stage.CURRENT)
    if current is None or current.fingerprint not in (*journal.keys, journal.current_fingerprint):
        raise ConflictError("somebody changed the current value meanwhile", remedy="look who did, then run again")
    return current


async def observe_leniently(c: Assembly) -> Observed:
    """As `observe`, for looking only: what fails is named in `problems` and left out."""
    secret, store = c.decider
    problems: list[str] = []

    async def attempt(what: str, call: Awaitable[T], otherwise: T) -> T:
        try:
            return await call
        except KeyturnError as error:
            problems.append(f"{what}: {error}")
            return otherwise

    notes, keys, serving = await asyncio.gather(
        attempt("notes", store.annotations(secret), {}), attempt("provider", _keys(c), None), observe_serving(c)
    )
    stages, further = await asyncio.gather(
        attempt("store", store.stages(secret), {}), attempt("further stores", _further(c), {})
    )
    lagging, room = _lagging(stages, further), _room(c, stages, keys, serving)
    journal = Journal.parse(notes)
    stale = await unrolled(c, journal, stages.get(Stage.CURRENT))
    return Observed(c.now(), stages, journal, keys, serving, lagging, stale, room, tuple(problems))


async def observe_serving(c: Assembly) -> Serving:
    """What every member of every fleet serves. A member that cannot be asked is None, and so is a fleet that cannot tell its
    members."""

    async def one(fleet: str) -> tuple[str, dict[str, VersionRef | None]]:
        adapter = c.fleets[fleet]
        try:
            members = await adapter.members()
        except KeyturnError:
            return fleet, {"(its members)": None}
        versions = await asyncio.gather(*(adapter.serving(member, c.name) for member in members))
        return fleet, {member.name: version for member, version in zip(members, versions, strict=True)}

    return dict(await asyncio.gather(*(one(fleet) for fleet in c.fleets)))


async def _further(c: Assembly) -> dict[str, VersionRef | None]:
    stages = await asyncio.gather(*(store.stages(secret) for secret, store in c.secrets[1:]))
    return {str(secret): held.get(Stage.CURRENT) for (secret, _), held in zip(c.secrets[1:], stages, strict=True)}


def _lagging(stages: Mapping[Stage, VersionRef], further: Mapping[str, VersionRef | None]) -> tuple[str, ...]:
    return tuple(secret for secret, version in further.items() if version != stages.get(Stage.CURRENT))


def _room(c: Assembly, stages: Mapping[Stage, VersionRef], keys: tuple[KeyRef, ...] | None, serving: Serving) -> bool:
    """True also where that cannot be told: the provider says no, then."""
    if keys is None:
        return True
    if isinstance(c.provider, TwoSlots):
        held = {version.fingerprint for version in stages.values()}
        held |= {version.fingerprint for members in serving.values() for version in members.values() if version}
        return any(key.fingerprint not in held for key in keys)
    most = c.provider.capabilities.max_live_keys
    return most is None or len(keys) < most


async def _keys(c: Assembly) -> tuple[KeyRef, ...] | None:
    return tuple(await c.provider.list()) if c.provider.capabilities.can_list else None


async def _keys_if_listed(c: Assembly) -> tuple[KeyRef, ...] | None:
    """No decision hangs on them, so a provider that does not list for a while holds up nothing that needs no list."""
    try:
        return await _keys(c)
    except RetryableError:
        return None
