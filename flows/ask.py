"""A person is asked, in Prefect's UI, whether an old key may be ended. Nothing waits for them: see keyturn.approval."""

from collections.abc import Collection

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from flows.asking import asking_prefect
from flows.at_work import tell
from keyturn import environments
from keyturn.approval import Question, question, unanswered
from keyturn.assembly import Assembly
from keyturn.errors import UnavailableError
from keyturn.steps.observe import observe_decider


async def held_back(c: Assembly, fingerprint: str) -> Question | None:
    """Have a person asked, where one is to be asked before the key of this value is ended, and has not said yes.

    None: it may be ended. Safe to repeat: there is one question for each value and time.
    """
    if c.settings.approval is None:
        return None
    _, journal = await observe_decider(c)
    found = question(c.settings.approval, journal, fingerprint, c.now())
    if found is not None:
        c.say("approve", found.sentence)
        if found.until is not None:
            await ask_in_prefect(c, found)
    return found


async def without_an_answer(c: Assembly, fingerprints: Collection[str]) -> str:
    """For the record, where nobody said yes to what is ended now: that it is so. "" else."""
    if c.settings.approval is None:
        return ""
    _, journal = await observe_decider(c)
    return next((said for each in fingerprints if (said := unanswered(c.settings.approval, journal, each))), "")


async def ask_in_prefect(c: Assembly, asked: Question) -> None:
    """By a run of `approve`, which is paused until it is answered. Where there is no such deployment, by hand alone."""
    name, until = deployment(), f"{asked.until:%Y-%m-%dT%H:%M:%SZ}"
    by_hand = f"`keyturn approve {c.name}`, or the same with --deny"
    try:
        with asking_prefect():
            try:
                run = await arun_deployment(
                    name,
                    parameters={"credential": c.name, "fingerprint": asked.text},
                    flow_run_name=c.name,
                    timeout=0,
                    as_subflow=False,
                    idempotency_key=f"approve:{name}:{c.name}:{asked.text}:{until}",
                )
            except ObjectNotFound:
                c.say("approve", f"there is no deployment {name} to ask with: {by_hand}")
                return
    except (UnavailableError, TimeoutError) as error:
        c.say("approve", f"nobody can be asked in Prefect ({error}): {by_hand}")
        return
    said = f"asked in Prefect, by the run {c.name} of {name}; or {by_hand}"
    if said in [line.sentence for line in c.timeline]:
        return
    c.say("approve", said)
    if run.state is None or run.state.is_scheduled():  # else it asks already, and somebody was told
        tell("approval_asked", c.name, text=asked.text, until=until, then=asked.then)


async def withdraw(credential: str) -> None:
    """End what is still asked about this credential in Prefect: it was answered elsewhere, or is over. A courtesy: an answer
    that comes too late finds nothing to do."""
    try:
        with asking_prefect():
            async with get_client() as client:
                try:
                    this = await client.read_deployment_by_name(deployment())
                except ObjectNotFound:
                    return
                open_ = FlowRunFilter(
                    name=FlowRunFilterName(any_=[credential]),
                    deployment_id=FlowRunFilterDeploymentId(any_=[this.id]),
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
                )
                for run in await client.read_flow_runs(flow_run_filter=open_):
                    await client.set_flow_run_state(run.id, Cancelled(message="answered elsewhere, or over"), force=True)
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().info("what is asked in Prefect stays open there: %s", error)


def deployment() -> str:
    """What asks, of this environment."""
    return f"approve/{environments.deployment(environments.named())}"
