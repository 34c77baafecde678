"""Runs that come late, in a burst: after an outage Prefect starts every one that was missed."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext

from flows.asking import asking_prefect
from flows.at_work import asked_at
from keyturn.errors import UnavailableError

_COMES_OR_CAME = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]


async def overtaken(flow: str) -> bool:
    """Whether a later run of this flow and deployment is due by now as well. False where Prefect does not say."""
    context = FlowRunContext.get()
    deployment = context.flow_run.deployment_id if context and context.flow_run else None
    same = FlowRunFilterDeploymentId(any_=[deployment]) if deployment else None
    within = {"after_": asked_at() + timedelta(seconds=1), "before_": datetime.now(UTC)}
    later = FlowRunFilterExpectedStartTime.model_validate(within)
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_COMES_OR_CAME))
    try:
        with asking_prefect():
            async with get_client() as client:
                found = await client.read_flow_runs(
                    flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
                    flow_run_filter=FlowRunFilter(expected_start_time=later, state=state, deployment_id=same),
                    limit=1,
                )
    except UnavailableError:
        return False
    return bool(found)
