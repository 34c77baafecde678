"""keyturn's deployments for workers of a work pool, made from keyturn.yaml."""

from __future__ import annotations

import asyncio
import http

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from deployments.limits import have_limits
from deployments.place import in_a_pool
from deployments.pools import have_pool
from deployments.register import register
from deployments.wanted import wanted
from flows.asking import asking_prefect
from keyturn.config import Config, load
from keyturn.errors import MisconfiguredError


def main(pool: str | None = None, prune: bool = True, dry_run: bool = False) -> list[str]:
    """Bring Prefect's server to what keyturn.yaml says. A sentence for each change."""
    return asyncio.run(deploy(load(), pool, prune=prune, dry_run=dry_run))


async def deploy(config: Config, pool: str | None = None, *, prune: bool = True, dry_run: bool = False) -> list[str]:
    """The pool with its queue, the deployments with their schedules, the limits of providers."""
    place = in_a_pool(config, pool)
    with asking_prefect():
        try:
            async with get_client() as client:
                changes = await have_pool(client, str(place.pool), config.deploy, dry_run=dry_run)
                changes += (await register(client, wanted(config), place, prune=prune, dry_run=dry_run)).changes
                return changes + await have_limits(client, config, prune=prune, dry_run=dry_run)
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in (http.HTTPStatus.CONFLICT, http.HTTPStatus.UNPROCESSABLE_ENTITY):
                raise
            failed = error.request.url.path.rsplit("/api/", 1)[-1].split("/")[0]
    # Not its answer's text: it quotes what it was given.
    raise MisconfiguredError(
        f"Prefect's server does not take what it was told of its {failed} (409 or 422)",
        remedy="compare deploy of keyturn.yaml with the template of the work pool, which says what job variables it takes",
    )
