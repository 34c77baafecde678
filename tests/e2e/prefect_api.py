"""Prefect's REST API, as a script, a schedule or the UI uses it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from keyturn.testing.embedded import Credential

if TYPE_CHECKING:
    from tests.e2e.conftest import Installation

STEPS = [
    "observe",
    "preflight",
    "create",
    "write",
    "validate",
    "promote",
    "roll",
    "tidy",
    "prove",
    "revoke",
]  # of a rotation without an overlap
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
PATIENCE = 180  # seconds: a run is a process of its own, and the machine may be busy

T = TypeVar("T")


class Prefect:
    """Prefect's REST API as a script, a schedule or the UI uses it, with the questions of these tests."""

    def __init__(self, installation: Installation) -> None:
        self._client = httpx.Client(base_url=installation.environ["PREFECT_API_URL"], timeout=60, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """An answer. 503 is SQLite's "database is locked": Prefect asks to try again. While it is, it may answer nobody for
        a minute: what only asks is asked again."""
        only_asks = method == "GET" or path.endswith(("/filter", "/count"))

        def send() -> httpx.Response | None:
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.ReadTimeout:
                if only_asks:
                    return None
                raise
            return None if answer.status_code == 503 else answer

        return until(send)

    def get(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> Any:
        return self.get("GET", f"/deployments/name/{name}/keyturn")

    def create(self, name: str, parameters: dict[str, Any], **more: Any) -> httpx.Response:
        return self.ask(
            "POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters, **more}
        )

    def start(self, name: str, parameters: dict[str, Any], **more: Any) -> str:
        answer = self.create(name, parameters, **more)
        assert answer.status_code == 201, answer.text
        run: str = answer.json()["id"]
        return run

    def ended(self, run: str) -> Any:
        """The run, when it is over."""

        def look() -> Any:
            found = self.get("GET", f"/flow_runs/{run}")
            return found if found["state"]["type"] in ENDED else None

        return until(look)

    def runs(self, **filter_: Any) -> list[Any]:
        found: list[Any] = self.get("POST", "/flow_runs/filter", {**filter_, "limit": 200})
        return found

    def runs_of(self, flow: str, credential: Credential) -> list[Any]:
        found = self.runs(flows={"name": {"any_": [flow]}})
        return [run for run in found if run["parameters"].get("credential") == credential.name]

    def tasks(self, *runs: str, at_least: int) -> list[Any]:
        """The tasks of some runs, in the order they began. The server learns of them one by one, a little later than of the
        run: those of which it has not heard are waited for, up to `at_least` in all."""

        def look() -> list[Any] | None:
            tasks = self.get("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": runs}}, "limit": 200})
            there = len(tasks) >= at_least and all(task["state_type"] in ENDED for task in tasks)
            return tasks if there else None

        return sorted(until(look), key=lambda task: str(task["start_time"]))

    def steps(self, run: str, *, at_least: int) -> list[str]:
        """The names of its tasks."""
        return [task["name"].rsplit("-", 1)[0] for task in self.tasks(run, at_least=at_least)]

    def log(self, run: str, until_it_says: str) -> str:
        """The run's log without Prefect's own details. What is logged arrives a little later than it is said."""

        def look() -> str | None:
            of_interest = {"flow_run_id": {"any_": [run]}, "level": {"ge_": logging.INFO}}
            lines = self.get("POST", "/logs/filter", {"logs": of_interest, "limit": 200})
            log = "\n".join(line["message"] for line in lines)
            return log if until_it_says in log else None

        return until(look)

    def events(self, credential: Credential, since: datetime) -> dict[str, Any]:
        """The latest event of each name about a credential."""
        within = {"since": since.isoformat(), "until": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
        about = {"id": [f"keyturn.credential.{credential.name}"]}
        found = self.get("POST", "/events/filter", {"filter": {"occurred": within, "resource": about, "order": "ASC"}})
        return {event["event"]: event for event in found["events"]}


def until(condition: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while (found := condition()) is None:
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.5)
    return found
