"""Runs whose machine died: Prefect's open-source server goes on calling them Running, or Pending, for ever, and counts them
where a pool or a deployment has a limit.

The worker of a run that ends by itself, or whose process dies alone, says so. Of a worker that died with its runs nobody
does. What such a run had begun is finished by the sweep, whatever Prefect calls it: here its state is put right, so that
people hear of it. One that had not begun goes back into the queue, for else what it was asked for would be lost.

A run tells that it lives by an event, every PREFECT_FLOWS_HEARTBEAT_FREQUENCY seconds (180). So this is only as right as
those: who decides by them first looks whether its own are told.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from prefect.states import Crashed, Scheduled

from flows.asking import asking_prefect
from keyturn import environments
from keyturn.durations import text
from keyturn.errors import UnavailableError

MISSED = 3  # heartbeats; of a busy machine one may come late
_SHORTEST = 30  # seconds between two, whatever is set
_ON_ITS_WAY = 20  # seconds: an event goes through a queue before it can be asked for
_A_DAY = timedelta(days=1)
_OPEN = (StateType.RUNNING, StateType.PENDING)
_PAGE = 200


async def end_left_behind() -> None:
    """Of this environment's deployments, from a run of one of them. A courtesy: where Prefect does not answer, the next."""
    context, every = FlowRunContext.get(), get_current_settings().flows.heartbeat_frequency
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or every is None:
        return
    try:
        with asking_prefect():
            async with get_client() as client:
                await _end(client, run.id, timedelta(seconds=MISSED * max(every, _SHORTEST)))
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().info("runs that a dead machine left are not looked for: %s", error)


async def _end(client: PrefectClient, own: UUID, silence: timedelta) -> None:
    logger, now = get_run_logger(), datetime.now(UTC)
    old = [run for run in await _ours(client, _OPEN) if run.id != own and _since(run, now) > silence]
    for run in (run for run in old if run.state_type is StateType.PENDING):
        logger.warning("%s was taken by a machine %s ago, and did not begin: queued again", run.name, text(_since(run, now)))
        await client.set_flow_run_state(run.id, Scheduled(message="taken by a machine that did not begin it"), force=True)
    dead = [run for run in old if run.state_type is StateType.RUNNING]
    if dead and not await _is_told(client, own, now - silence):
        logger.warning("no heartbeats of runs arrive at Prefect: which of them are dead cannot be told")
        return
    dead = [run for run in dead if not await _is_heard(client, run.id, now - silence)]
    ended = await _ours(client, (StateType.CRASHED, StateType.FAILED), since=now - _A_DAY)
    # Those that ran inside a dead one first: should this run die as well, the next one still finds them by it.
    for run in [*await _inside(client, [run.id for run in (*dead, *ended)]), *dead]:
        logger.warning("%s died with its machine: a sweep finishes what it had begun", run.name)
        message = (
            f"no sign of life for {text(silence)}: its machine died, or its process; a sweep finishes what it had begun"
        )
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)


async def _ours(client: PrefectClient, states: Collection[StateType], since: datetime | None = None) -> list[FlowRun]:
    """Of the deployments of this environment. `since`: those that ended later."""
    name = DeploymentFilterName(any_=[environments.deployment(environments.named())])
    later = FlowRunFilterEndTime.model_validate({"after_": since}) if since else None
    return await client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=name, tags=DeploymentFilterTags(all_=[environments.TAG])),
        flow_run_filter=FlowRunFilter(state=_in(states), end_time=later),
        limit=_PAGE,
    )


async def _inside(client: PrefectClient, parents: list[UUID]) -> list[FlowRun]:
    """Runs that these had begun in their own process, and that are not over by their state."""
    if not parents:
        return []
    of_these = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=parents), state=_in(_OPEN))
    return await client.read_flow_runs(flow_run_filter=of_these, limit=_PAGE)


async def _is_told(client: PrefectClient, own: UUID, since: datetime) -> bool:
    """Whether this run's own sign of life has arrived. It was sent when the run began, which may be a moment ago."""
    for _ in range(_ON_ITS_WAY):
        if await _is_heard(client, own, since):
            return True
        await asyncio.sleep(1)
    return False


async def _is_heard(client: PrefectClient, run: UUID, since: datetime) -> bool:
    signs = EventFilter(
        occurred=EventOccurredFilter.model_validate({"since": since}),
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
    )
    return bool((await client.read_events(signs, limit=1)).events)


def _in(states: Collection[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))


def _since(run: FlowRun, now: datetime) -> timedelta:
    """How long it is in its state."""
    return now - run.state.timestamp if run.state else timedelta(0)
