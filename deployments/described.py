"""A wanted deployment in Prefect's own terms, with the flow's form."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from deployments.wanted import Timetable, Wanted

# From the same moment at each registration, so that a second one changes nothing.
_ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


def flow_of(wanted: Wanted) -> Flow[..., Any]:
    """The flow itself, from the project's flows/."""
    found: Flow[..., Any] = getattr(import_module(f"flows.{wanted.flow}"), wanted.flow)
    return found


def schedule_of(timetable: Timetable) -> CronSchedule | IntervalSchedule:
    """When it is due. Prefect knows no jitter: what a rotation has of it is its own (flows/put_off.py)."""
    if timetable.cron is not None:
        return CronSchedule(cron=timetable.cron, timezone=timetable.timezone)
    if timetable.interval is None:
        raise ValueError(f"{timetable.slug} is never due")
    return IntervalSchedule(interval=timetable.interval, anchor_date=_ANCHOR, timezone=timetable.timezone)


def schedules_of(wanted: Wanted) -> list[DeploymentScheduleCreate]:
    """All of them, active."""
    return [
        DeploymentScheduleCreate(schedule=schedule_of(each), slug=each.slug, parameters=dict(each.parameters))
        for each in wanted.timetables
    ]
