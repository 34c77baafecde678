"""The ways by which a person, a script or an automation can put text into Prefect, with a key pasted where it goes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from keyturn.testing.embedded import VAULT
from tests.leaks.loud import Loud

GOOD = {"credential": VAULT.name}
SEVERAL = {"credentials": [VAULT.name]}
LATER = datetime.now(UTC) + timedelta(days=300)  # nothing that is stored here is ever to run
SCHEDULED = {"type": "SCHEDULED", "state_details": {"scheduled_time": LATER.isoformat()}}


@dataclass(frozen=True)
class Way:
    """`row` of the table in docs/security.md. `paste` sends the key. `stored`: the columns it stands in afterwards; none:
    Prefect refused it."""

    row: str
    paste: Callable[[Loud, str], httpx.Response]
    stored: tuple[str, ...] = ()
    how: str = ""

    @property
    def name(self) -> str:
        return f"{self.row}: {self.how}" if self.how else self.row


def deployment(loud: Loud, flow: str) -> str:
    found: str = loud.prefect("GET", f"/deployments/name/{flow}/keyturn")["id"]
    return found


def parked(loud: Loud) -> str:
    """A run that waits for a day that is far away."""
    run: str = _run()(loud, "").json()["id"]
    return run


def _run(flow: str = "rotate", **body: Any) -> Callable[[Loud, str], httpx.Response]:
    """POST create_flow_run; KEY in the body stands for the key."""

    def paste(loud: Loud, key: str) -> httpx.Response:
        sent = _filled({"parameters": {} if flow == "sweep" else GOOD, "state": SCHEDULED, **body}, key)
        return loud.ask_prefect("POST", f"/deployments/{deployment(loud, flow)}/create_flow_run", sent)

    return paste


KEY = "KEY"


def _filled(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {_filled(name, key): _filled(each, key) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, key) for each in value]
    return value.replace(KEY, key) if isinstance(value, str) else value


def _of_deployment(method: str, path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    return lambda loud, key: loud.ask_prefect(method, f"/deployments/{deployment(loud, 'rotate')}{path}", _filled(body, key))


def _of_a_run(method: str, path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    def paste(loud: Loud, key: str) -> httpx.Response:
        run = parked(loud)
        return loud.ask_prefect(method, f"/flow_runs/{run}{path}", _filled(body, key))

    return paste


def _direct(loud: Loud, key: str) -> httpx.Response:
    flow = loud.prefect("GET", "/flows/name/rotate")["id"]
    return loud.ask_prefect("POST", "/flow_runs/", {"flow_id": flow, "parameters": {"credential": key}, "state": SCHEDULED})


def _log(loud: Loud, key: str) -> httpx.Response:
    run = parked(loud)
    line = {"name": "a.script", "level": 20, "message": key, "timestamp": LATER.isoformat(), "flow_run_id": run}
    return loud.ask_prefect("POST", "/logs/", [line])


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
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "key.leaked",
        "resource": {"prefect.resource.id": "a.scanner"},
        "payload": {"key": key},
    }
    return loud.ask_prefect("POST", "/events", [event])


def _variable(loud: Loud, key: str) -> httpx.Response:
    return loud.ask_prefect("POST", "/variables/", {"name": f"pasted_{uuid.uuid4().hex}", "value": key})


def _post(path: str, body: Any) -> Callable[[Loud, str], httpx.Response]:
    return lambda loud, key: loud.ask_prefect("POST", path, _filled(body, key))


SCHEDULE = {"schedule": {"interval": 86400, "anchor_date": LATER.isoformat()}, "active": False}

PARAMETERS = ("flow_run.parameters",)
STATE = ("event_resources.resource", "events.payload", "events.resource", "flow_run_state.message")


def _wrong_values() -> Iterator[Way]:
    places = {
        "rotate": ("credential", "reason", "overlap", "dry_run"),
        "retire": ("credential", "now"),
        "rollback": ("credential",),
        "respond": ("credentials", "policy", "fingerprint"),
    }
    for flow, names in places.items():
        good = SEVERAL if flow == "respond" else GOOD
        for name in names:
            yield Way("a parameter's value", _run(flow, parameters={**good, name: KEY}), how=f"{flow}, {name}")
    yield Way("a parameter's value", _run("respond", parameters={"credentials": [KEY]}), how="respond, one of credentials")
    as_json = {"credential": {"__prefect_kind": "json", "value": f'"{KEY}"'}}
    yield Way("a parameter's value", _run(parameters=as_json), how="the form's JSON")


def _wrong_names() -> Iterator[Way]:
    for flow, good in (("rotate", GOOD), ("retire", GOOD), ("rollback", GOOD), ("respond", SEVERAL), ("sweep", {})):
        for how, wrong in (("the name", {KEY: True}), ("the value", {"api_key": KEY})):
            yield Way("a parameter of another name", _run(flow, parameters={**good, **wrong}), how=f"{flow}, {how}")


WAYS: tuple[Way, ...] = (
    *_wrong_values(),
    *_wrong_names(),
    Way("many runs at once", _of_deployment("POST", "/create_flow_run/bulk", [{"parameters": {"credential": KEY}}])),
    Way("the deployment's parameters", _of_deployment("PATCH", "", {"parameters": {"credential": KEY}})),
    Way("input for a run that is not paused", _of_a_run("POST", "/resume", {"run_input": {"x": KEY}})),
    Way("a run with the check off", _run(parameters={"credential": KEY}, enforce_parameter_schema=False), PARAMETERS),
    Way("a run without its deployment", _direct, PARAMETERS),
    Way("the parameters of a run that waits", _of_a_run("PATCH", "", {"parameters": {"credential": KEY}}), PARAMETERS),
    Way(
        "a schedule's parameters",
        _of_deployment("POST", "/schedules", [{**SCHEDULE, "parameters": {"credential": KEY}}]),
        ("deployment_schedule.parameters",),
    ),
    Way("an automation's parameters", _automation, ("automation.actions", "events.payload")),
    Way("a run's name", _run(name=KEY), ("event_resources.resource", "events.resource", "flow_run.name"), "new"),
    Way("a run's name", _of_a_run("PATCH", "", {"name": KEY}), ("flow_run.name",), "changed"),
    Way(
        "a run's tags",
        _run(tags=[KEY]),
        ("event_resources.resource_id", "events.related", "events.related_resource_ids", "flow_run.tags"),
    ),
    Way("the message of a run's state", _run(state={**SCHEDULED, "message": KEY}), STATE, "new"),
    Way(
        "the message of a run's state",
        _of_a_run("POST", "/set_state", {"state": {"type": "CANCELLED", "message": KEY}}),
        STATE,
        "cancelled with a reason",
    ),
    Way("a run's labels, context, job variables", _run(labels={"ticket": KEY}), ("flow_run.labels",), "labels"),
    Way("a run's labels, context, job variables", _run(context={"x": KEY}), ("flow_run.context",), "context"),
    Way(
        "a run's labels, context, job variables",
        _run(job_variables={"env": {"X": KEY}}),
        ("flow_run.job_variables",),
        "job variables",
    ),
    Way("a run's idempotency key", _run(idempotency_key=KEY), ("flow_run.idempotency_key",)),
    Way("a run's input", _of_a_run("POST", "/input", {"key": "x", "value": KEY}), ("flow_run_input.value",)),
    Way("a run's log", _log, ("log.message",)),
    Way("an event", _event, ("events.payload",)),
    Way("a variable", _variable, ("events.payload", "variable.value")),
    Way(
        "an artifact",
        _post("/artifacts/", {"key": "pasted", "type": "markdown", "data": KEY}),
        ("artifact.data", "artifact_collection.data", "events.payload"),
    ),
    Way(
        "a concurrency limit's name",
        _post("/v2/concurrency_limits/", {"name": KEY, "limit": 1}),
        ("concurrency_limit_v2.name", "event_resources.resource", "events.payload", "events.resource"),
    ),
)
