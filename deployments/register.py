"""Deployments at Prefect's server: made, changed and removed until they are what keyturn.yaml wants, and not touched else.

What a person does in the UI stays: a paused deployment stays paused, so does a paused schedule, and a schedule without a
slug is a person's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, DeploymentFilterTags
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from deployments.described import flow_of, schedules_of
from deployments.place import Place
from deployments.wanted import Wanted
from keyturn import environments

_PAGE = 200


@dataclass
class Registered:
    """`ids`: of each deployment that is there, by its full name. `changes`: a sentence for each."""

    ids: dict[str, UUID] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)


async def register(
    client: PrefectClient, every: Iterable[Wanted], place: Place, *, prune: bool = True, dry_run: bool = False
) -> Registered:
    """Bring the server to what is wanted. `dry_run`: only say what would be done. `prune`: also remove."""
    every, done = list(every), Registered()
    there = await _there(client, every)
    for wanted in every:
        fields = described(wanted, place)
        found = there.pop(wanted.full_name, None)
        if found is None:
            done.changes.append(f"{wanted.full_name}: made")
            if not dry_run:
                done.ids[wanted.full_name] = await _make(client, wanted, fields)
            continue
        done.ids[wanted.full_name] = found.id
        changed = {name: value for name, value in fields.items() if getattr(found, name) != value}
        if changed:
            done.changes.append(f"{wanted.full_name}: changed {', '.join(map(_plainly, changed))}")
            if not dry_run:
                await _change(client, found, fields, changed)
        done.changes += await _schedules(client, found, schedules_of(wanted), wanted.full_name, prune, dry_run)
    for name, left in there.items():
        if prune:
            done.changes.append(f"{name}: removed")
            if not dry_run:
                await client.delete_deployment(left.id)
    return done


def described(wanted: Wanted, place: Place) -> dict[str, Any]:
    """A deployment by the names of Prefect's API; without its schedules."""
    return {
        "description": wanted.description,
        "tags": [environments.TAG],
        "parameters": {},
        "enforce_parameter_schema": True,
        "parameter_openapi_schema": flow_of(wanted).parameters.model_dump(exclude_unset=True),
        **place.fields(wanted),
    }


async def _there(client: PrefectClient, every: list[Wanted]) -> dict[str, DeploymentResponse]:
    """What bears our tag and this environment's name, by its full name."""
    ours = DeploymentFilter(
        name=DeploymentFilterName(any_=sorted({each.name for each in every})),
        tags=DeploymentFilterTags(all_=[environments.TAG]),
    )
    found: list[DeploymentResponse] = []
    while len(page := await client.read_deployments(deployment_filter=ours, limit=_PAGE, offset=len(found))) == _PAGE:
        found += page
    names: dict[UUID, str] = {}
    for each in (found := [*found, *page]):
        if each.flow_id not in names:
            names[each.flow_id] = (await client.read_flow(each.flow_id)).name
    return {f"{names[each.flow_id]}/{each.name}": each for each in found}


async def _make(client: PrefectClient, wanted: Wanted, fields: dict[str, Any]) -> UUID:
    flow_id = await client.create_flow_from_name(wanted.flow)
    given = {name: value for name, value in fields.items() if value is not None}
    return await client.create_deployment(flow_id, wanted.name, schedules=schedules_of(wanted), **given)


async def _change(client: PrefectClient, found: DeploymentResponse, fields: dict[str, Any], changed: dict[str, Any]) -> None:
    """What has changed alone. The pool is named with what is looked up in it, or checked against its template."""
    told = dict(changed)
    if {"job_variables", "work_queue_name", "work_pool_name"} & changed.keys():
        told |= {name: fields[name] for name in ("work_pool_name", "work_queue_name", "job_variables")}
    await client.update_deployment(found.id, DeploymentUpdate(**told))


async def _schedules(
    client: PrefectClient,
    found: DeploymentResponse,
    wanted: list[DeploymentScheduleCreate],
    name: str,
    prune: bool,
    dry_run: bool,
) -> list[str]:
    """By their slugs. Whether one is active is for the one who paused it."""
    there = {each.slug: each for each in found.schedules if each.slug is not None}
    changes = []
    new = [each for each in wanted if each.slug not in there]
    if new:
        changes += [f"{name}: schedule {each.slug} made" for each in new]
        if not dry_run:
            await client.create_deployment_schedules(found.id, new)
    for each in wanted:
        old = there.pop(each.slug or "", None)
        if old is not None and not _alike(old, each):
            changes.append(f"{name}: schedule {each.slug} changed")
            if not dry_run:
                await client.update_deployment_schedule(found.id, old.id, schedule=each.schedule, parameters=each.parameters)
    for slug, gone in there.items():
        if prune:
            changes.append(f"{name}: schedule {slug} removed")
            if not dry_run:
                await client.delete_deployment_schedule(found.id, gone.id)
    return changes


def _alike(old: DeploymentSchedule, new: DeploymentScheduleCreate) -> bool:
    return _when(old.schedule) == _when(new.schedule) and old.parameters == new.parameters


def _when(schedule: Any) -> tuple[Any, ...]:
    if isinstance(schedule, CronSchedule):
        return "cron", schedule.cron, schedule.timezone or "UTC"
    if isinstance(schedule, IntervalSchedule):
        return "interval", schedule.interval, schedule.timezone or "UTC"
    return ("other",)


def _plainly(field: str) -> str:
    return "its form" if field == "parameter_openapi_schema" else field.replace("_", " ")
