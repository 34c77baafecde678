"""Jitter: a run that a schedule began is put off, by a run of its own later, which holds no process meanwhile."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Scheduled

from flows.asking import asking_prefect
from keyturn.errors import UnavailableError
from keyturn.jitter import offset


async def put_off(credential: str, jitter: timedelta) -> datetime | None:
    """Until when; None where the run is to go on, as it is where it cannot be put off, or was late already.

    How far follows from the credential and the time it was due (keyturn.jitter), and each due time is put off once.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if not jitter or run is None or not run.auto_scheduled or run.deployment_id is None or run.expected_start_time is None:
        return None
    due = run.expected_start_time
    until = due + offset(credential, due, jitter)
    if until <= datetime.now(UTC):
        return None
    try:
        with asking_prefect():
            async with get_client() as client:
                await client.create_flow_run_from_deployment(
                    run.deployment_id,
                    parameters=run.parameters,
                    state=Scheduled(scheduled_time=until),
                    idempotency_key=f"jitter:{run.deployment_id}:{credential}:{due.isoformat()}",
                )
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("it cannot be put off, and begins now: %s", error)
        return None
    return until
