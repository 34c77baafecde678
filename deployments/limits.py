"""How much at once at each provider, as limits of Prefect's, where a person sees them in its UI. Runs keep to them by
flows/at_provider.py."""

from __future__ import annotations

from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from flows.at_provider import pace_of, places_of
from keyturn import environments
from keyturn.config import Config

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at a time; and with `decay`, of so many a second one is free again."""

    name: str
    limit: int
    decay: float = 0.0


def limits(config: Config) -> list[Limit]:
    """What keyturn.yaml says of its providers."""
    found = []
    for name, part in config.providers.items():
        if part.limits.max_concurrent is not None:
            found.append(Limit(places_of(config.environment, name), part.limits.max_concurrent))
        if part.limits.min_interval:
            found.append(Limit(pace_of(config.environment, name), 1, 1 / part.limits.min_interval.total_seconds()))
    return found


async def have_limits(client: PrefectClient, config: Config, *, prune: bool = True, dry_run: bool = False) -> list[str]:
    """Make and change them; with `prune`, remove those of providers that have none any more."""
    ours = environments.scoped(config.environment, "provider.")
    there = {each.name: each for each in await _all(client) if each.name.startswith(ours)}
    changes = []
    for wanted in limits(config):
        old = there.pop(wanted.name, None)
        if old is None:
            changes.append(f"limit {wanted.name}: made")
            if not dry_run:
                await client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=wanted.name, limit=wanted.limit, slot_decay_per_second=wanted.decay)
                )
        elif (old.limit, old.slot_decay_per_second) != (wanted.limit, wanted.decay):
            changes.append(f"limit {wanted.name}: changed")
            if not dry_run:
                await client.update_global_concurrency_limit(
                    wanted.name, GlobalConcurrencyLimitUpdate(limit=wanted.limit, slot_decay_per_second=wanted.decay)
                )
    for name in there if prune else ():
        changes.append(f"limit {name}: removed")
        if not dry_run:
            await client.delete_global_concurrency_limit_by_name(name)
    return changes


async def _all(client: PrefectClient) -> list[GlobalConcurrencyLimitResponse]:
    found: list[GlobalConcurrencyLimitResponse] = []
    while len(page := await client.read_global_concurrency_limits(limit=_PAGE, offset=len(found))) == _PAGE:
        found += page
    return [*found, *page]
