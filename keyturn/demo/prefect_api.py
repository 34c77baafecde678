"""The few calls of Prefect's REST API that a script makes: start a run, follow it, read its log. No client library."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

RETRY_PAUSES = (0.5, 1, 2, 4)  # seconds
TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class PrefectAPI:
    """`url` ends in /api."""

    url: str

    async def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a run of `flow/deployment`; its id."""
        found = await self._call("GET", f"/deployments/name/{deployment}")
        run = await self._call("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        run_id: str = run["id"]
        return run_id

    async def state(self, run: str) -> tuple[str, str]:
        """(type, message) of a run's state."""
        state = (await self._call("GET", f"/flow_runs/{run}"))["state"]
        return state["type"], state.get("message") or ""

    async def runs(self, flow: str) -> list[dict[str, Any]]:
        """Every run of a flow, the newest first."""
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 200}
        found: list[dict[str, Any]] = await self._call("POST", "/flow_runs/filter", body)
        return found

    async def log(self, run: str, offset: int) -> list[str]:
        """The lines of a run's log from `offset` on."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "offset": offset, "limit": 200}
        return [line["message"] for line in await self._call("POST", "/logs/filter", body)]

    async def step_seconds(self, run: str) -> dict[str, float]:
        """How long each task of a run took, its retries and their pauses included."""
        tasks = await self._call(
            "POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        )
        return {task["name"].rsplit("-", 1)[0]: round(task["total_run_time"], 2) for task in tasks}

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            for pause in (*RETRY_PAUSES, None):
                answer = await client.request(method, self.url + path, json=body)
                if answer.status_code != 503 or pause is None:
                    break
                await asyncio.sleep(pause)  # a busy server, which did nothing and means to be asked again
            answer.raise_for_status()
            return answer.json()
