"""The work pool of the deployments, and in it the queue of incidents, which workers look at first."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from deployments.wanted import INCIDENTS
from keyturn.deploy_settings import DeploySettings
from keyturn.errors import MisconfiguredError

FIRST = 1  # of priorities; the server moves others back


async def have_pool(client: PrefectClient, name: str, settings: DeploySettings, *, dry_run: bool) -> list[str]:
    """Make what is missing of it. MisconfiguredError where the pool is of another type than keyturn.yaml says."""
    changes = []
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        changes.append(f"work pool {name}: made ({settings.type})")
        if dry_run:
            return [*changes, f"work queue {name}/{INCIDENTS}: made"]
        template = await _template(client, settings.type)
        pool = await client.create_work_pool(WorkPoolCreate(name=name, type=settings.type, base_job_template=template))
    if pool.type != settings.type:
        raise MisconfiguredError(
            f"the work pool {name} is of another type than deploy.type of keyturn.yaml says ({settings.type})",
            remedy="correct deploy.type, or name another pool",
        )
    return changes + await _have_queue(client, name, dry_run)


async def _have_queue(client: PrefectClient, pool: str, dry_run: bool) -> list[str]:
    try:
        queue = await client.read_work_queue_by_name(INCIDENTS, work_pool_name=pool)
    except ObjectNotFound:
        if not dry_run:
            await client.create_work_queue(
                INCIDENTS, work_pool_name=pool, priority=FIRST, description="Leaked keys: before everything that waits."
            )
        return [f"work queue {pool}/{INCIDENTS}: made"]
    if queue.priority == FIRST:
        return []
    if not dry_run:
        await client.update_work_queue(queue.id, priority=FIRST)
    return [f"work queue {pool}/{INCIDENTS}: first again"]


async def _template(client: PrefectClient, kind: str) -> dict[str, Any]:
    """The usual one of this type of pool, as the server knows it."""
    for types in (await client.read_worker_metadata()).values():
        if kind in types:
            found: dict[str, Any] = types[kind]["default_base_job_configuration"]
            return found
    raise MisconfiguredError(
        f"Prefect's server knows no work pools of the type {kind}", remedy="make the pool with `prefect work-pool create`"
    )
