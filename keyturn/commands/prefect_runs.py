"""What Prefect's API knows of past runs: when the last sweep ended, and how long each step took. Only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx

from keyturn.metrics import Sample

STEPS = ("observe", "preflight", "create", "write", "validate", "promote", "roll", "prove", "revoke", "undo", "strays")
_LATEST = 200  # task runs: several rotations
_DONE = {"type": {"any_": ["COMPLETED"]}}


async def samples_of_runs() -> list[Sample]:
    """[] where Prefect is not named, or does not answer: what is not known has no sample."""
    api = os.environ.get("PREFECT_API_URL", "")
    if not api:
        return []
    auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
    login = httpx.BasicAuth(*auth.partition(":")[::2]) if auth else None
    try:
        async with httpx.AsyncClient(timeout=10, auth=login, base_url=api) as client:
            sweeps = {"flows": {"name": {"any_": ["sweep"]}}, "flow_runs": {"state": _DONE}}
            runs = await _asked(client, "/flow_runs/filter", {**sweeps, "sort": "END_TIME_DESC", "limit": 1})
            rotations = {"flows": {"name": {"any_": ["rotate", "rotate_many", "retire"]}}, "task_runs": {"state": _DONE}}
            steps = await _asked(client, "/task_runs/filter", {**rotations, "sort": "END_TIME_DESC", "limit": _LATEST})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return []
    return [*_sweep(runs), *_steps(steps)]


async def _asked(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.post(path, json=body)
    answer.raise_for_status()
    found = answer.json()
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _sweep(runs: list[dict[str, Any]]) -> Iterator[Sample]:
    for run in runs[:1]:
        if isinstance(ended := run.get("end_time"), str):
            yield Sample("keyturn_last_sweep_timestamp_seconds", datetime.fromisoformat(ended).timestamp())


def _steps(runs: list[dict[str, Any]]) -> Iterator[Sample]:
    """The latest of each step. Names are ours alone: whoever may use Prefect's API may name a run as they like."""
    told = set[str]()
    for run in runs:
        step, seconds = str(run.get("name", "")).rpartition("-")[0], run.get("total_run_time")
        if step in STEPS and step not in told and isinstance(seconds, int | float):
            told.add(step)
            yield Sample("keyturn_step_seconds", float(seconds), {"step": step})
