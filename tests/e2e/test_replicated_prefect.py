"""The large stack's Prefect as processes: a rotation by it that a killed server does not stop, its login, its TLS."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from keyturn.testing.embedded import VAULT
from keyturn.testing.processes import wait_for_http
from keyturn.testing.programs import SERVE, installed
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import ENDED, PATIENCE, STEPS, until
from tests.e2e.replicas import Replicas, changing, client

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def replicas(installation: Installation) -> Iterator[Replicas]:
    made = Replicas(installation.processes, installation.folder / "replicas")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def worker(replicas: Replicas, installation: Installation) -> Iterator[None]:
    """`keyturn serve`, by the front, which it knows by its authority alone."""
    environ = {**installation.environ, **replicas.environ, "KEYTURN_ROOT": str(ROOT)}
    process = installation.processes.start("replicas-worker", installed(SERVE), env=environ, cwd=ROOT)
    login = base64.b64encode(":".join(replicas.login).encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    for name in ("rotate", "retire"):
        url = f"{replicas.servers[0]}/api/deployments/name/{name}/keyturn"
        wait_for_http(url, seconds=PATIENCE, process=process, headers=headers)
    yield
    installation.processes.stop("replicas-worker")


def test_nobody_is_let_in_without_the_login_or_believed_without_the_certificate(replicas: Replicas) -> None:
    with client(replicas.url, replicas, auth=None) as http:
        assert http.get("/admin/version").status_code == 401
        assert http.get("/health").status_code == 200
    with client(replicas.url, replicas, verify=True) as http, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
        http.get("/health")
    with client(replicas.url, replicas) as http:
        assert http.post("/flow_runs/filter", json={}).status_code == 403, "no token: CSRF"
        assert http.post("/flow_runs/filter", json={}, headers=changing(http)).status_code == 200


def test_what_one_server_is_told_the_other_one_knows(replicas: Replicas) -> None:
    """An event is written by the background services, which hear of it by Redis."""
    event = {
        "id": str(uuid.uuid4()),
        "event": f"of-a-test.{uuid.uuid4()}",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "of-a-test"},
        "payload": {},
    }
    with client(replicas.servers[0], replicas) as first, client(replicas.servers[1], replicas) as second:
        first.post("/events", json=[event], headers=changing(first)).raise_for_status()
        wanted = {"filter": {"event": {"name": [event["event"]]}}}
        headers = changing(second)
        until(lambda: second.post("/events/filter", json=wanted, headers=headers).json().get("total") or None)


def test_a_rotation_goes_on_when_a_server_is_killed(replicas: Replicas, installation: Installation, worker: None) -> None:
    before = installation.fingerprint(VAULT)
    with client(replicas.url, replicas) as http:
        deployment = http.get("/deployments/name/rotate/keyturn").raise_for_status().json()["id"]
        parameters = {"parameters": {"credential": VAULT.name, "reason": "manual"}}
        asked = http.post(f"/deployments/{deployment}/create_flow_run", json=parameters, headers=changing(http))
        run = asked.raise_for_status().json()["id"]

        def state() -> str:
            return str(http.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"])

        until(lambda: state() == "RUNNING" or None)
        installation.processes.running["prefect-1"].kill()
        assert until(lambda: found if (found := state()) in ENDED else None) == "COMPLETED"
        headers = changing(http)

        def steps() -> list[str] | None:
            tasks = http.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}}, headers=headers).json()
            there = [task for task in tasks if task["state_type"] == "COMPLETED"]
            return [task["name"] for task in there] if len(there) == len(STEPS) else None

        until(steps)
    assert installation.fingerprint(VAULT) != before
    assert len(installation.live_keys(VAULT)) == 1
