"""keyturn's deployments, made from keyturn.yaml and served by one process.

What they are: deployments/wanted.py. Incidents have places of their own in this process, so that none waits for what is
scheduled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import TerminationSignal
from prefect.logging import get_logger
from prefect.runner import Runner

from deployments.described import flow_of
from deployments.limits import have_limits
from deployments.place import HERE
from deployments.register import Registered, register
from deployments.wanted import Wanted, wanted
from flows.asking import asking_prefect
from keyturn.config import Config, load

logger: logging.Logger = get_logger("keyturn.serve")


class Served(RunnerDeployment):
    """A deployment that is registered already, and only what changed of it: a runner's own way writes all of it anew, and
    makes active what a person has paused."""

    known: UUID

    async def aapply(self, *args: Any, **kwargs: Any) -> UUID:
        """Its id, without asking."""
        return self.known


async def registered(config: Config) -> Registered:
    """Every deployment of this configuration, and the limits of its providers."""
    with asking_prefect():
        async with get_client() as client:
            done = await register(client, wanted(config), HERE)
            done.changes += await have_limits(client, config)
            return done


def runners(every: list[Wanted], limit: int) -> dict[str | None, Runner]:
    """By queue: one for each that has a deployment. Schedules are not paused when they end: see `main`."""
    queues = dict.fromkeys(each.queue for each in every)
    return {queue: Runner(limit=limit, pause_on_shutdown=False) for queue in queues}


async def serve(config: Config, limit: int) -> None:
    """Register, then run until it is told to stop."""
    done = await registered(config)
    for change in done.changes:
        logger.info(change)
    every = wanted(config)
    made = runners(every, limit)
    for each in every:
        served = Served(name=each.name, flow_name=flow_of(each).name, known=done.ids[each.full_name])
        await made[each.queue].aadd_deployment(served)
    await asyncio.gather(*(runner.start() for runner in made.values()))


def main(limit: int = 10) -> None:
    """Register, then run what is scheduled or asked for, until SIGTERM. `limit` runs at once, and as many of incidents.

    Schedules are not paused when this process ends: another one may serve them too, and a run that was missed is made up
    for. Of several missed ones the first rotates, and the others find that it has (`keyturn.lifecycle.satisfied`).
    """
    try:
        asyncio.run(serve(load(), limit))
    except (KeyboardInterrupt, TerminationSignal) as stop:
        logger.info("%s: shutting down", type(stop).__name__)


if __name__ == "__main__":
    main()
