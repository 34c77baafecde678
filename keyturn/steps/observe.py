"""observe: read the store's stages, the journal, the provider's keys and the fleets; decide where the rotation stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.journal import Journal
from keyturn.lifecycle import Asked, Decision, Observed, decide
from keyturn.model import KeyRef, Serving, VersionRef, rotation_id

T = TypeVar("T")


_UNDER_WAY = ("promoted_unrecorded", "staged", "unrolled", "unproved", "drifted", "overdue", "incident_overlap")


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
    decision = decide(seen, asked)
    c.say("observe", decision.sentence)
    fingerprint = seen.current.fingerprint if seen.current else ""
    journal = seen.journal
    # A rotation under way is named by the journal: once promoted, its id can no longer be derived from CURRENT.
    resumed = journal.rotation if decision.check in _UNDER_WAY else ""
    rotation = resumed or rotation_id(c.mark, fingerprint, journal.attempt)
    return Turn(c.name, rotation, c.mark.label(rotation), asked, decision, seen)


async def observe(c: Assembly) -> Observed:
    """All observations at once: none waits for another."""
    secret, store = c.decider
    stages, notes, keys, serving = await asyncio.gather(
        store.stages(secret), store.annotations(secret), _keys(c), observe_serving(c)
    )
    return Observed(c.now(), stages, Journal.parse(notes), keys, serving)


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

    stages, notes, keys, serving = await asyncio.gather(
        attempt("store", store.stages(secret), {}),
        attempt("notes", store.annotations(secret), {}),
        attempt("provider", _keys(c), None),
        observe_serving(c),
    )
    return Observed(c.now(), stages, Journal.parse(notes), keys, serving, tuple(problems))


async def observe_serving(c: Assembly) -> Serving:
    """What every member of every fleet serves. A member that cannot be asked is None."""

    async def one(fleet: str) -> tuple[str, dict[str, VersionRef | None]]:
        adapter = c.fleets[fleet]
        members = await adapter.members()
        versions = await asyncio.gather(*(adapter.serving(member, c.name) for member in members))
        return fleet, {member.name: version for member, version in zip(members, versions, strict=True)}

    return dict(await asyncio.gather(*(one(fleet) for fleet in c.fleets)))


async def _keys(c: Assembly) -> tuple[KeyRef, ...] | None:
    return tuple(await c.provider.list()) if c.provider.capabilities.can_list else None
