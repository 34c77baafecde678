"""How far a run is, from what Prefect shows: states and the names of steps, and no message."""

from __future__ import annotations

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import TaskRunSort

from deployments.incidents.desk import Progress

_WORDS = {
    StateType.SCHEDULED: "waiting",
    StateType.PENDING: "waiting",
    StateType.PAUSED: "waiting",
    StateType.RUNNING: "running",
    StateType.COMPLETED: "done",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "cancelled",
    StateType.CANCELLING: "cancelled",
}
_MOST = 200


async def progress(client: PrefectClient, run: FlowRun) -> Progress:
    """The run, and its steps in the order in which they began."""
    of_it = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    tasks = await client.read_task_runs(flow_run_filter=of_it, limit=_MOST, sort=TaskRunSort.EXPECTED_START_TIME_ASC)
    return Progress(
        id=run.id,
        state=word(run.state_type),
        credentials=tuple(run.parameters.get("credentials", ())),
        began=run.start_time.isoformat() if run.start_time else "",
        ended=run.end_time.isoformat() if run.end_time else "",
        steps=tuple({"step": task.name.rsplit("-", 1)[0], "state": word(task.state_type)} for task in tasks),
    )


def word(state: StateType | None) -> str:
    return _WORDS.get(state, "waiting") if state is not None else "waiting"
