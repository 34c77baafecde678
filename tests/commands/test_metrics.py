"""keyturn metrics: what is told is what is seen; alerts and the dashboard ask for nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from keyturn.commands import prefect_runs
from keyturn.commands.metrics import served
from keyturn.errors import UnavailableError
from keyturn.metrics import METRICS, Sample, exposition
from tests.commands.conftest import Terminal

ROOT = Path(__file__).parent.parent.parent
ALERTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deployments" / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deployments" / "grafana-dashboard.json").read_text())
NAMES = {metric.name: set(metric.labels) for metric in METRICS}
QUERIES = [rule["expr"] for rule in ALERTS] + [each["expr"] for panel in DASHBOARD["panels"] for each in panel["targets"]]


def told(terminal: Terminal) -> dict[str, dict[tuple[str, ...], float]]:
    result = terminal.type("metrics")
    assert result.exit_code == 0, result.output
    found = {each.name: each.samples for each in text_string_to_metric_families(result.stdout) if each.samples}
    return {name: {tuple(each.labels.values()): each.value for each in samples} for name, samples in found.items()}


def test_what_is_seen_is_told(terminal: Terminal) -> None:
    found = told(terminal)
    of = ("openai-prod",)
    assert found["keyturn_seen"] == {of: 1} and found["keyturn_strays"] == {of: 0} and found["keyturn_parked"] == {of: 0}
    fleet = ("openai-prod", "local")
    assert found["keyturn_members"] == found["keyturn_members_current"] == {fleet: 2}
    assert found["keyturn_look_timestamp_seconds"][()] == pytest.approx(datetime.now(UTC).timestamp(), abs=120)
    assert set(found) <= set(NAMES)


def test_what_is_not_known_has_no_sample(terminal: Terminal) -> None:
    terminal.world.provider.fail["list"] = UnavailableError("it is away")
    found = told(terminal)
    assert "keyturn_strays" not in found and "keyturn_key_due_timestamp_seconds" not in found
    assert found["keyturn_problems"] == {("openai-prod",): 1}


def test_a_credential_that_cannot_be_looked_at_is_not_seen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise UnavailableError("sealed")

    monkeypatch.setattr(terminal.world.store, "stages", away)
    found = told(terminal)
    assert found["keyturn_seen"] == {("openai-prod",): 0}
    assert "keyturn_failures" not in found


def test_no_key_and_no_fingerprint_is_told(terminal: Terminal) -> None:
    material = terminal.world.first_key.material
    out = terminal.type("metrics").stdout
    assert material.reveal() not in out and material.fingerprint() not in out


@pytest.mark.parametrize("query", QUERIES)
def test_alerts_and_the_dashboard_ask_for_what_there_is(query: str) -> None:
    assert (asked := set(re.findall(r"keyturn_\w+", query))) and asked <= set(NAMES)
    assert query.count("(") == query.count(")")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_labels_that_its_metrics_have(rule: dict[str, Any]) -> None:
    there = set.intersection(*(NAMES[name] for name in re.findall(r"keyturn_\w+", rule["expr"])))
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= there
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"} and rule["annotations"]["remedy"]


def test_a_panel_names_labels_that_its_metrics_have() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            there = set.intersection(*(NAMES[name] for name in re.findall(r"keyturn_\w+", target["expr"])))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= there, panel["title"]


def test_the_page_names_every_metric() -> None:
    page = (ROOT / "docs" / "observing.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []


def test_a_scrape_is_given_the_last_look_and_a_look_that_fails_leaves_it() -> None:
    looks: list[bytes] = []

    async def look() -> bytes:
        if looks:
            raise RuntimeError("no")
        looks.append(exposition([Sample("keyturn_step_seconds", 2.0, {"step": "roll"})], datetime.now(UTC)))
        return looks[0]

    with TestClient(served(look, 0.01)) as client:
        while (answer := client.get("/metrics")).status_code == 503:
            pass
        assert b'keyturn_step_seconds{step="roll"} 2.0' in answer.content
        assert client.get("/metrics").content == answer.content
        assert client.get("/").status_code == 404


def test_an_address_that_is_none_is_refused(terminal: Terminal) -> None:
    assert terminal.type("metrics", "--listen", "9464").exit_code == 2


class Answers:
    """Prefect's API, played. `asked`: bodies."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, dict[str, Any]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api")
        self.asked[path] = json.loads(request.content)
        answer = self.answers[path]
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, json=answer)


def asked(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[Sample]:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    real, transport = httpx.AsyncClient, httpx.MockTransport(Answers(answers))
    monkeypatch.setattr(
        "keyturn.commands.prefect_runs.httpx.AsyncClient", lambda **given: real(**given, transport=transport)
    )
    return asyncio.run(prefect_runs.samples_of_runs())


def test_the_last_sweep_and_the_seconds_of_each_step_are_prefects(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = datetime.now(UTC) - timedelta(minutes=5)
    steps = [
        {"name": "roll-ab1", "total_run_time": 3.5},
        {"name": "roll-ab0", "total_run_time": 9.0},
        {"name": "somebody's own-1", "total_run_time": 1.0},
        {"name": "prove-ab2", "total_run_time": None},
    ]
    found = asked(monkeypatch, {"/flow_runs/filter": [{"end_time": ended.isoformat()}], "/task_runs/filter": steps})
    assert found == [
        Sample("keyturn_last_sweep_timestamp_seconds", ended.timestamp()),
        Sample("keyturn_step_seconds", 3.5, {"step": "roll"}),
    ]


@pytest.mark.parametrize("answer", [500, 401, {"no": "list"}, [3], []])
def test_what_prefect_does_not_tell_is_not_told(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, {"/flow_runs/filter": answer, "/task_runs/filter": answer}) == []
