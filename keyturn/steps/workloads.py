"""Fleets whose platform replaces their members: which of their workloads have been rolled since the last promote."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, KeyturnError
from keyturn.journal import Journal
from keyturn.model import VersionRef
from keyturn.ports import Replacing


def replacing(c: Assembly) -> Iterator[tuple[str, Replacing]]:
    for name, fleet in c.fleets.items():
        if isinstance(fleet, Replacing):
            yield name, fleet


def rollout_of(journal: Journal, version: VersionRef) -> str:
    """The name of the roll onto this version. ConflictError where its promote is not written down: its roll has no name."""
    if journal.current_fingerprint != version.fingerprint:
        raise ConflictError("another run has promoted a value meanwhile, and not written it down yet", remedy="run again")
    return journal.rollout


async def unrolled(c: Assembly, journal: Journal, current: VersionRef | None) -> tuple[str, ...]:
    """As `fleet/workload`. Nothing where CURRENT is a person's value, or not written down yet: no roll of it has a name.

    A fleet that cannot be asked has none here: its members are unknown.
    """
    if current is None or journal.current_fingerprint != current.fingerprint or journal.promoted_at is None:
        return ()
    found = await asyncio.gather(*(_leniently(c, name, fleet, journal.rollout) for name, fleet in replacing(c)))
    return tuple(each for workloads in found for each in workloads)


async def unrolled_of(c: Assembly, fleet: Replacing, rollout: str) -> list[str]:
    """Its workloads that this rollout was not begun for. Raises what the fleet raises."""
    workloads = await fleet.workloads()
    rolled = await asyncio.gather(*(fleet.was_rolled(each, c.name, rollout) for each in workloads))
    return [each for each, was in zip(workloads, rolled, strict=True) if not was]


async def _leniently(c: Assembly, name: str, fleet: Replacing, rollout: str) -> list[str]:
    try:
        return [f"{name}/{each}" for each in await unrolled_of(c, fleet, rollout)]
    except KeyturnError:
        return []
