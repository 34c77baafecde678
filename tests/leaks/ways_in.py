"""Every way by which a person, a script or an automation can put text into Prefect, with a key pasted where it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from keyturn.testing.embedded import VAULT
from tests.leaks.loud import Loud

GOOD = {"credential": VAULT.name}
LATER = datetime.now(UTC) + timedelta(days=300)  # nothing that is stored here is ever to run
SCHEDULED = {"type": "SCHEDULED", "state_details": {"scheduled_time": LATER.isoformat()}}


@dataclass(frozen=True)
class Way:
    """`paste` sends the key. `stored`: the columns it stands in afterwards; none: Prefect refused it."""

    name: str
    paste: Callable[[Loud, str], httpx.Response]
    stored: tuple[str, ...] = ()


def deployment(loud: Loud, flow: str) -> str:
    found: str = loud.prefect("GET", f"/deployments/name/{flow}/keyturn")["id"]
    return found


def _run(flow: str = "rotate", **body: Any) -> Callable[[Loud, str], httpx.Response]:
    """POST create_flow_run; KEY in the body stands for the key."""

    def paste(loud: Loud, key: str) -> httpx.Response:
        sent = _filled({"parameters": GOOD, "state": SCHEDULED, **body}, key)
        return loud.ask_prefect("POST", f"/deployments/{deployment(loud, flow)}/create_flow_run", sent)

    return paste


KEY = "KEY"


def _filled(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {_filled(name, key): _filled(each, key) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, key) for each in value]
    return key if value == KEY else value


def _of_deployment(method: str, path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    return lambda loud, key: loud.ask_prefect(method, f"/deployments/{deployment(loud, 'rotate')}{path}", _filled(body, key))


def _of_a_run(method: str, path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    def paste(loud: Loud, key: str) -> httpx.Response:
        run = _run()(loud, "").json()["id"]
        sent = _filled({**body, "logger": "x", "level": 20, "timestamp": LATER.isoformat()} if path == "logs" else body, key)
        if path == "logs":
            return loud.ask_prefect("POST", "/logs/", [{**sent, "flow_run_id": run, "message": key}])
        return loud.ask_prefect(method, f"/flow_runs/{run}{path}", sent)

    return paste


def _direct(loud: Loud, key: str) -> httpx.Response:
    flow = loud.prefect("GET", "/flows/name/rotate")["id"]
    return loud.ask_prefect("POST", "/flow_runs/", {"flow_id": flow, "parameters": {"credential": key}, "state": SCHEDULED})


def _to_a_paused_run(loud: Loud, key: str) -> httpx.Response:
    run = _run()(loud, "").json()["id"]
    return loud.ask_prefect("POST", f"/flow_runs/{run}/resume", {"run_input": {"x": key}})


def _automation(loud: Loud, key: str) -> httpx.Response:
    action = {
        "type": "run-deployment",
        "source": "selected",
        "deployment_id": deployment(loud, "rotate"),
        "parameters": {"credential": key},
    }
    trigger = {"type": "event", "posture": "Reactive", "expect": ["never.happens"], "threshold": 1, "within": 0}
    return loud.ask_prefect("POST", "/automations/", {"name": "leaked?", "trigger": trigger, "actions": [action]})


def _event(loud: Loud, key: str) -> httpx.Response:
    event = {
        "id": "00000000-0000-4000-8000-000000000001",
        "occurred": datetime.now(UTC).isoformat(),
        "event": "key.leaked",
        "resource": {"prefect.resource.id": "a.scanner"},
        "payload": {"key": key},
    }
    return loud.ask_prefect("POST", "/events", [event])


def _post(path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    return lambda loud, key: loud.ask_prefect("POST", path, _filled(body, key))


SCHEDULE = {"schedule": {"interval": 86400, "anchor_date": LATER.isoformat()}, "active": False}

WAYS = (
    # The deployments of `keyturn serve`.
    Way("rotate: credential", _run(parameters={"credential": KEY})),
    Way("rotate: overlap", _run(parameters={**GOOD, "overlap": KEY})),
    Way("rotate: reason", _run(parameters={**GOOD, "reason": KEY})),
    Way("rotate: dry_run", _run(parameters={**GOOD, "dry_run": KEY})),
    Way("rotate: a parameter of another name", _run(parameters={**GOOD, "api_key": KEY})),
    Way("rotate: a parameter whose name it is", _run(parameters={**GOOD, KEY: True})),
    Way("retire: credential", _run("retire", parameters={"credential": KEY})),
    Way("retire: now", _run("retire", parameters={**GOOD, "now": KEY})),
    Way("retire: a parameter of another name", _run("retire", parameters={**GOOD, "api_key": KEY})),
    Way("the form, as a value in JSON", _run(parameters={"credential": {"__prefect_kind": "json", "value": f'"{KEY}"'}})),
    Way("many runs at once", _of_deployment("POST", "/create_flow_run/bulk", [{"parameters": {"credential": KEY}}])),
    Way("the deployment's own parameters", _of_deployment("PATCH", "", {"parameters": {"credential": KEY}})),
    Way("a schedule's parameters", _of_deployment("POST", "/schedules", [{**SCHEDULE, "parameters": {"credential": KEY}}])),
    Way("an automation's parameters", _automation),
    Way("check off: parameters", _run(parameters={"credential": KEY}, enforce_parameter_schema=False)),
    Way("a run without its deployment", _direct),
    Way("a run's name", _run(name=KEY)),
    Way("a run's tags", _run(tags=[KEY])),
    Way("a run's labels", _run(labels={"ticket": KEY})),
    Way("a run's idempotency key", _run(idempotency_key=KEY)),
    Way("a run's context", _run(context={"x": KEY})),
    Way("a run's job variables", _run(job_variables={"env": {"X": KEY}})),
    Way("a run's state", _run(state={**SCHEDULED, "message": KEY})),
    Way("a run, changed: parameters", _of_a_run("PATCH", "", {"parameters": {"credential": KEY}})),
    Way("a run, changed: name", _of_a_run("PATCH", "", {"name": KEY})),
    Way("a run, cancelled with a reason", _of_a_run("POST", "/set_state", {"state": {"type": "CANCELLED", "message": KEY}})),
    Way("a run's input", _of_a_run("POST", "/input", {"key": "x", "value": KEY})),
    Way("resuming a run", _to_a_paused_run),
    Way("a run's log", _of_a_run("POST", "logs", {})),
    Way("an event", _event),
    Way("a variable", _post("/variables/", {"name": "pasted", "value": KEY})),
    Way("an artifact", _post("/artifacts/", {"key": "pasted", "type": "markdown", "data": KEY})),
    Way("a concurrency limit's name", _post("/v2/concurrency_limits/", {"name": KEY, "limit": 1})),
)
