"""Runs of `respond`, made by Prefect's API and executed in this process.

Prefect keeps what was reported: each run has a tag for each of its leaks. So the same leak finds the run that it has begun,
also after a restart, and what a dead process left is gone on with. A run is repeated from its top, and each of its steps
finds its own work done.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import FlowCreate, FlowRunCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending, to_state_create

from deployments.incidents.desk import Progress, Run
from deployments.incidents.engine import Engine
from deployments.incidents.progress import progress
from flows.asking import asking_prefect
from keyturn.incidents.leak import Subject
from keyturn.lifecycle import Policy

TAG = "keyturn-incident"
ABANDONED = timedelta(minutes=15)  # so long after its beginning, a run of a process that we do not know is taken over
_GIVEN_UP = timedelta(days=1)  # what is older is a person's
_MOST = 200

BAD_ENDS = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED, StateType.CANCELLING)
OPEN = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED)


class Runs:
    """`flow`: `respond`, or what takes its parameters. `instance`: names this service's place, the same after a restart."""

    def __init__(self, flow: Flow[..., Any], engine: Engine, repeat_window: timedelta, instance: str) -> None:
        self._flow = flow
        self._engine = engine
        self._repeat_window = repeat_window
        self._instance = f"incident-service:{instance}"
        self._one_by_one = asyncio.Lock()

    async def start(self, subjects: Sequence[Subject], policy: Policy) -> Sequence[Run]:
        """See deployments.incidents.desk.Start."""
        async with self._one_by_one:
            with asking_prefect():
                async with get_client() as client:
                    return await self._start(client, subjects, policy)

    async def tell(self, run: UUID) -> Progress | None:
        """See deployments.incidents.desk.Tell."""
        with asking_prefect():
            async with get_client() as client:
                try:
                    found = await client.read_flow_run(run)
                except ObjectNotFound:
                    return None
                return await progress(client, found) if TAG in found.tags else None

    async def pick_up(self) -> Sequence[Run]:
        """Go on with what this service had begun before it ended, and with what another has left."""
        taken = []
        with asking_prefect():
            async with get_client() as client:
                for run in await _tagged(client, TAG):
                    if await self._go_on_with(client, run, after_crash=True):
                        taken.append(_run(run, begun=False))
        return taken

    async def _start(self, client: PrefectClient, subjects: Sequence[Subject], policy: Policy) -> Sequence[Run]:
        known: dict[UUID, Run] = {}
        new: list[Subject] = []
        spent = 0  # runs of the same leaks that count no more: the next one is another
        for subject in subjects:
            before = await _tagged(client, _tag(subject.name))
            run = next((each for each in before if self._counts(subject, each)), None)
            spent += len(before)
            if run is None:
                new.append(subject)
            else:
                await self._go_on_with(client, run)
                known[run.id] = _run(run, begun=False)
        # A key of its own has a run of its own, which is told its fingerprint; what has none goes together.
        groups = [[each] for each in new if each.fingerprint]
        rest = [each for each in new if not each.fingerprint]
        made = [await self._make(client, group, policy, spent) for group in (*groups, rest) if group]
        return [*made, *known.values()]

    def _counts(self, subject: Subject, run: FlowRun) -> bool:
        """Whether this run is what a report of this subject asks for."""
        if run.state_type in OPEN:
            return True
        if run.state_type in BAD_ENDS:
            return False
        return subject.is_lasting or run.end_time is None or datetime.now(UTC) - run.end_time < self._repeat_window

    async def _make(self, client: PrefectClient, subjects: Sequence[Subject], policy: Policy, spent: int) -> Run:
        credentials = sorted({name for subject in subjects for name in subject.credentials})
        parameters: dict[str, Any] = {"credentials": credentials, "policy": policy.value}
        if subjects[0].fingerprint:
            parameters["fingerprint"] = subjects[0].fingerprint
        key = " ".join(sorted({subject.name for subject in subjects})) + f" {spent}"
        answer = await client.request("POST", "/flows/", json=FlowCreate(name=self._flow.name).model_dump(mode="json"))
        wanted = FlowRunCreate(
            flow_id=answer.json()["id"],
            flow_version=self._flow.version,
            parameters=parameters,
            tags=[TAG, self._instance, *sorted(_tags(subjects))],
            state=to_state_create(Pending()),
            idempotency_key=f"{TAG}-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
        )
        content = wanted.model_dump(mode="json", exclude_unset=True)
        answer = await client.request("POST", "/flow_runs/", json=content)
        run = FlowRun.model_validate(answer.json())
        begun = answer.status_code == 201  # else another service was first, and executes it
        if begun:
            self._engine.execute(run, parameters)
        return Run(run.id, tuple(credentials), begun)

    async def _go_on_with(self, client: PrefectClient, run: FlowRun, *, after_crash: bool = False) -> bool:
        """Where nobody executes it: a run that its process has left."""
        age = datetime.now(UTC) - (run.start_time or run.created or datetime.now(UTC))
        states = (*OPEN, StateType.CRASHED) if after_crash else OPEN
        is_ours = self._instance in run.tags or age > ABANDONED
        if self._engine.is_executing(run.id) or run.state_type not in states or not is_ours or age > _GIVEN_UP:
            return False
        await client.set_flow_run_state(run.id, Pending(name="Resumed"), force=True)
        self._engine.execute(await client.read_flow_run(run.id), run.parameters)
        return True


async def _tagged(client: PrefectClient, tag: str) -> Sequence[FlowRun]:
    """The latest first."""
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
    found = await client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=_MOST)
    return sorted(found, key=lambda run: run.created or datetime.now(UTC), reverse=True)


def _tags(subjects: Sequence[Subject]) -> set[str]:
    """All by which the same leak is found when it is reported again."""
    return {_tag(name) for subject in subjects for name in (subject.name, *subject.same)}


def _tag(name: str) -> str:
    return f"leak:{name}"


def _run(run: FlowRun, *, begun: bool) -> Run:
    return Run(run.id, tuple(run.parameters.get("credentials", ())), begun)
