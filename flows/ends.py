"""The ends of overlaps, where many credentials were rotated together: one sweep for all of them, not a run for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta

from prefect.context import FlowRunContext
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from flows.asking import asking_prefect
from keyturn import environments
from keyturn.errors import UnavailableError

A_MOMENT = timedelta(seconds=5)  # a run that is scheduled for the end of an overlap may be started somewhat before

_ends: ContextVar[list[datetime] | None] = ContextVar("_ends", default=None)


@contextmanager
def ends_together() -> Iterator[list[datetime]]:
    """While this is open, what is to end later is noted in this list, and no run is asked for."""
    ends: list[datetime] = []
    token = _ends.set(ends)
    try:
        yield ends
    finally:
        _ends.reset(token)


def ends_with_others(at: datetime) -> bool:
    """Note this end, where it is one of many."""
    ends = _ends.get()
    if ends is None:
        return False
    ends.append(at)
    return True


async def sweep_at_the_end(last: datetime) -> str:
    """A sweep after the last of them, which ends what no sweep before has ended. A sentence: what was asked for."""
    deployment = f"sweep/{environments.deployment(environments.named())}"
    context = FlowRunContext.get()
    run = context.flow_run.id if context is not None and context.flow_run is not None else ""
    at = last + A_MOMENT
    try:
        with asking_prefect():
            try:
                await arun_deployment(
                    deployment,
                    scheduled_time=at,
                    timeout=0,
                    as_subflow=False,
                    idempotency_key=f"ends:{run}:{at.isoformat()}",
                )
            except ObjectNotFound:
                return f"there is no deployment {deployment}: run `keyturn sweep` after {at:%Y-%m-%d %H:%M:%S} UTC"
    except (UnavailableError, TimeoutError) as error:
        return f"no sweep could be asked for ({error}): run `keyturn sweep` after {at:%Y-%m-%d %H:%M:%S} UTC"
    return f"the old keys are revoked by {at:%Y-%m-%d %H:%M:%S} UTC, by a sweep"
