"""keyturn's deployments, made from keyturn.yaml and served by one process.

`rotate/keyturn` has a schedule for each credential that has one, and is what the UI's button and the API start.
`retire/keyturn` has none: each rotation asks for its own run at the end of the overlap. `sweep/keyturn` runs on an
interval: the safety net, and what rotates by age. `rollback/keyturn` is a button. `inventory/keyturn` looks, on an interval.
"""

import asyncio

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron, Interval, Schedule

from flows.inventory import inventory
from flows.retire import retire
from flows.rollback import rollback
from flows.rotate import rotate
from flows.sweep import sweep
from keyturn.config import Config, load

NAME = "keyturn"


def schedules(config: Config) -> list[Schedule]:
    """One for each credential that has a cron line. Its slug is the credential's name, so that a change replaces it."""
    return [
        Cron(
            credential.schedule,
            timezone=credential.timezone,
            parameters={"credential": name, "reason": "scheduled"},
            slug=name,
        )
        for name, credential in config.credentials.items()
        if credential.schedule is not None
    ]


async def deployments(config: Config) -> list[RunnerDeployment]:
    """Every deployment of this configuration."""
    return [
        await rotate.ato_deployment(
            NAME,
            schedules=schedules(config),
            description="Turn a provider key: create, write, prove, roll, revoke.",
            tags=["keyturn"],
        ),
        await retire.ato_deployment(NAME, description="Revoke the old key of a rotation, on evidence.", tags=["keyturn"]),
        await sweep.ato_deployment(
            NAME,
            schedules=[Interval(config.sweep.every, slug="sweep")],
            description="Finish what stands half-way, retire, rotate what is due, revoke strays, tell what disagrees.",
            tags=["keyturn"],
        ),
        await rollback.ato_deployment(NAME, description="Serve the previous key again.", tags=["keyturn"]),
        await inventory.ato_deployment(
            NAME,
            schedules=[Interval(config.inventory.every, slug="inventory")],
            description="Every key in service: how old it is, and whether the provider still takes it.",
            tags=["keyturn"],
        ),
    ]


def main(limit: int = 10) -> None:
    """Register, then run what is scheduled or asked for, until SIGTERM.

    Schedules are not paused when this process ends: another one may serve them too, and a run that was missed is made up
    for. Of several missed ones the first rotates, and the others find that it has (`keyturn.lifecycle.satisfied`).
    """
    serve(*asyncio.run(deployments(load())), limit=limit, print_starting_message=False, pause_on_shutdown=False)


if __name__ == "__main__":
    main()
