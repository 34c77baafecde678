"""`keyturn deploy` at a real Prefect server: what it makes, changes, removes and leaves alone; and runs by a real worker."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.templating import apply_values

from keyturn.config import parse
from keyturn.errors import MisconfiguredError
from keyturn.jitter import offset
from keyturn.settings import ProviderLimits
from keyturn.testing.embedded import AWS, VAULT
from keyturn.testing.processes import free_port, wait_for_http
from keyturn.testing.programs import installed, pool_worker
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import PATIENCE, STEPS, Prefect

pytestmark = pytest.mark.real

ENVIRONMENT = "pooled"  # so that these deployments are others than those that `keyturn serve` makes in other tests
NAME = "keyturn-pooled"
POOL = "pooled-workers"


class Deployed:
    """keyturn.yaml as these tests change it, and what Prefect has after `keyturn deploy`."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self.prefect = installation, Prefect(installation)
        self.config = installation.folder / "deployed.yaml"
        self.content: dict[str, Any] = json.loads(installation.config.read_text())
        self.content["deploy"] = {"pool": POOL}
        for each, hour in ((VAULT, 3), (AWS, 4)):
            self.content["credentials"][each.name] |= {"schedule": f"0 {hour} * * 1", "overlap": "0s"}

    def deploy(self, *, prune: bool = True) -> list[str]:
        """As the command does, without its start, which takes longer than all the rest."""
        config = parse(json.dumps(self.content), self.config, ENVIRONMENT)
        work = import_module("deployments.deploy").deploy(config, prune=prune)
        with temporary_settings({PREFECT_API_URL: self.installation.environ["PREFECT_API_URL"]}):
            changes: list[str] = asyncio.run(work)
        return changes

    def command(self, *words: str) -> list[str]:
        self.config.write_text(json.dumps(self.content))
        line = ("deploy", "--environment", ENVIRONMENT, "--json", *words)
        code, out = self.installation.keyturn(*line, config=self.config)
        assert code == 0, out
        changes: list[str] = json.loads(out)["changes"]
        return changes

    def deployments(self, name: str = NAME) -> dict[str, Any]:
        found = self.prefect.get("POST", "/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return {each["entrypoint"].split(":")[1]: each for each in found}

    def schedules(self) -> dict[str | None, Any]:
        return {each["slug"]: each for each in self.deployments()["rotate"]["schedules"]}

    def everything(self) -> list[Any]:
        """With every id, and when it was touched last."""
        queues = self.prefect.get("POST", f"/work_pools/{POOL}/queues/filter", {})
        keys = ("id", "updated", "priority", "name")
        limits = self.prefect.get("POST", "/v2/concurrency_limits/filter", {})
        return [self.deployments(), [{key: each[key] for key in keys} for each in queues], limits]


@pytest.fixture(scope="module")
def deployed(installation: Installation) -> Iterator[Deployed]:
    made = Deployed(installation)
    made.config.write_text(json.dumps(made.content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYTURN_CONFIG", str(made.config))
        patch.setenv("KEYTURN_ENVIRONMENT", ENVIRONMENT)
        before = _forget()  # flows/ is imported anew, for the names in this keyturn.yaml
        yield made
        _forget()
        sys.modules.update(before)
    for each in made.deployments().values():
        made.prefect.get("DELETE", f"/deployments/{each['id']}")


def _forget() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] in ("flows", "deployments")]
    return {name: sys.modules.pop(name) for name in names}


def test_a_dry_run_says_it_all_and_does_nothing(deployed: Deployed) -> None:
    changes = deployed.command("--dry-run")
    assert {f"work pool {POOL}: made (process)", f"work queue {POOL}/incidents: made", f"rotate/{NAME}: made"} <= {*changes}
    assert deployed.deployments() == {}
    assert deployed.prefect.ask("GET", f"/work_pools/{POOL}").status_code == 404
    assert deployed.deploy() == changes


def test_what_is_deployed_is_what_keyturn_yaml_says(deployed: Deployed) -> None:
    found = deployed.deployments()
    assert {"rotate", "retire", "sweep", "rollback"} <= found.keys()
    assert {each["work_pool_name"] for each in found.values()} == {POOL}
    assert found["rotate"]["parameter_openapi_schema"]["properties"]["credential"]["enum"] == [VAULT.name, AWS.name]
    assert all(each["enforce_parameter_schema"] and each["tags"] == ["keyturn"] for each in found.values())
    assert {slug: each["schedule"]["cron"] for slug, each in deployed.schedules().items()} == {
        VAULT.name: "0 3 * * 1",
        AWS.name: "0 4 * * 1",
    }
    queues = deployed.prefect.get("POST", f"/work_pools/{POOL}/queues/filter", {})
    assert [queue["name"] for queue in sorted(queues, key=lambda each: int(each["priority"]))] == ["incidents", "default"]


def test_a_second_time_nothing_is_touched(deployed: Deployed) -> None:
    before = deployed.everything()
    assert deployed.command() == []
    assert deployed.everything() == before


def test_one_schedule_is_changed_another_removed_and_what_a_person_did_stays(deployed: Deployed) -> None:
    rotate, before = deployed.deployments()["rotate"], deployed.schedules()
    at = f"/deployments/{rotate['id']}/schedules"
    own = {"schedule": {"cron": "5 5 * * 5", "timezone": "UTC"}, "parameters": {"credential": AWS.name}}
    deployed.prefect.get("POST", at, [own])
    deployed.prefect.get("PATCH", f"{at}/{before[AWS.name]['id']}", {"active": False})
    deployed.prefect.get("PATCH", f"/deployments/{deployed.deployments()['sweep']['id']}", {"paused": True})

    deployed.content["credentials"][AWS.name]["schedule"] = "30 4 * * 1"
    removed = deployed.content["credentials"][VAULT.name].pop("schedule")
    assert deployed.deploy(prune=False) == [f"rotate/{NAME}: schedule {AWS.name} changed"]
    assert deployed.deploy() == [f"rotate/{NAME}: schedule {VAULT.name} removed"]

    after = deployed.schedules()
    assert after.keys() == {AWS.name, None}
    assert (after[AWS.name]["id"], after[AWS.name]["active"]) == (before[AWS.name]["id"], False)
    assert after[AWS.name]["schedule"]["cron"] == "30 4 * * 1"
    assert deployed.deployments()["sweep"]["paused"] is True
    assert deployed.deployments()["rotate"]["id"] == rotate["id"]

    deployed.prefect.get("DELETE", f"{at}/{after[None]['id']}")
    deployed.prefect.get("PATCH", f"/deployments/{deployed.deployments()['sweep']['id']}", {"paused": False})
    deployed.content["credentials"][VAULT.name]["schedule"] = removed
    assert deployed.deploy() == [f"rotate/{NAME}: schedule {VAULT.name} made"]


def test_a_deployment_that_there_is_no_longer_a_flow_for_is_removed_and_others_are_not(deployed: Deployed) -> None:
    flow = deployed.prefect.get("POST", "/flows/", {"name": "of-an-earlier-version"})["id"]
    old = {"flow_id": flow, "name": NAME, "tags": ["keyturn"], "entrypoint": "flows/old.py:old"}
    deployed.prefect.get("POST", "/deployments/", old)
    others = {"flow_id": flow, "name": NAME + "-of-others", "entrypoint": "flows/old.py:old"}
    deployed.prefect.get("POST", "/deployments/", others)
    assert deployed.deploy(prune=False) == []
    assert deployed.deploy() == [f"of-an-earlier-version/{NAME}: removed"]
    (left,) = deployed.deployments(NAME + "-of-others").values()
    deployed.prefect.get("DELETE", f"/deployments/{left['id']}")


def test_limits_of_providers_are_made_changed_and_removed(deployed: Deployed) -> None:
    provider = deployed.content["providers"]["openai-org"]
    provider |= {"max_concurrent": 2, "min_interval": "3s"}
    slot = f"keyturn.{ENVIRONMENT}.provider.openai-org"
    assert deployed.deploy() == [f"limit {slot}: made", f"limit {slot}.pace: made"]
    assert deployed.deploy() == []
    provider["max_concurrent"] = 1
    assert deployed.deploy() == [f"limit {slot}: changed"]
    del provider["max_concurrent"], provider["min_interval"]
    assert deployed.deploy() == [f"limit {slot}: removed", f"limit {slot}.pace: removed"]


def test_a_worker_of_a_process_pool_turns_a_key(deployed: Deployed, installation: Installation, tmp_path: Path) -> None:
    """Started as Prefect says, in another folder: the deployment alone tells it where everything is."""
    deployed.content["providers"]["openai-org"] |= {"max_concurrent": 1, "min_interval": "1s"}
    deployed.deploy()
    before = installation.fingerprint(AWS)
    environ = {**os.environ, **installation.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    del environ["KEYTURN_CONFIG"]
    environ["PREFECT_WORKER_WEBSERVER_PORT"] = str(health := free_port())
    worker = installation.processes.start("pool-worker", installed(pool_worker(POOL)), env=environ, cwd=tmp_path)
    try:
        wait_for_http(f"http://127.0.0.1:{health}/health", seconds=PATIENCE, process=worker)
        parameters = {"parameters": {"credential": AWS.name}}
        rotate = deployed.deployments()["rotate"]["id"]
        run = deployed.prefect.ended(
            deployed.prefect.get("POST", f"/deployments/{rotate}/create_flow_run", parameters)["id"]
        )
    finally:
        installation.processes.stop("pool-worker", grace=20)
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert deployed.prefect.steps(run["id"], at_least=len(STEPS)) == STEPS
    assert installation.fingerprint(AWS) != before
    held = {each["name"]: each for each in deployed.prefect.get("POST", "/v2/concurrency_limits/filter", {})}
    places = held[f"keyturn.{ENVIRONMENT}.provider.openai-org"]
    assert (places["limit"], places["active_slots"]) == (1, 0)
    assert f"keyturn.{ENVIRONMENT}.{AWS.name}" in held, "its turn is this environment's own"


def test_pods_get_image_account_and_variables_and_a_wrong_one_is_refused(deployed: Deployed) -> None:
    """There is no cluster: the server's own template of such a pool says what a pod would be."""
    usual = deployed.content["deploy"]
    deployed.content["deploy"] = {
        "pool": "pooled-pods",
        "type": "kubernetes",
        "image": "registry.example.com/keyturn:1.0",
        "service_account": "keyturn",
        "namespace": "keyturn",
        "env": {"PREFECT_LOGGING_LEVEL": "INFO"},
        "job_variables": {"image_pull_policy": "Sometimes"},
    }
    try:
        before = deployed.deployments()
        with pytest.raises(MisconfiguredError, match="does not take what it was told"):
            deployed.deploy()
        assert deployed.deployments() == before
        deployed.content["deploy"]["job_variables"] = {"image_pull_policy": "Always"}
        deployed.deploy()
        assert deployed.deploy() == []
        rotate = deployed.deployments()["rotate"]
        template = deployed.prefect.get("GET", "/work_pools/pooled-pods")["base_job_template"]["job_configuration"]
    finally:
        deployed.content["deploy"] = usual
        deployed.deploy()
    assert rotate["pull_steps"][0]["prefect.deployments.steps.set_working_directory"] == {"directory": "/opt/keyturn"}
    job = apply_values(template, rotate["job_variables"])["job_manifest"]
    pod = job["spec"]["template"]["spec"]
    assert (job["metadata"]["namespace"], pod["serviceAccountName"]) == ("keyturn", "keyturn")
    assert pod["containers"][0]["image"] == "registry.example.com/keyturn:1.0"
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    assert pod["containers"][0]["env"] == {"PREFECT_LOGGING_LEVEL": "INFO", "KEYTURN_ENVIRONMENT": ENVIRONMENT}


def at_the_server(deployed: Deployed, work: Any) -> Any:
    """As a run would, without the run."""
    with temporary_settings({PREFECT_API_URL: deployed.installation.environ["PREFECT_API_URL"]}):
        return asyncio.run(work)


def test_a_run_of_a_schedule_is_put_off_by_its_jitter_once_and_one_of_a_person_is_not(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("flows.put_off")
    now = datetime.now(UTC).replace(microsecond=0)
    recent = (now - timedelta(seconds=back) for back in range(1, 100))
    due = next(each for each in recent if offset(VAULT.name, each, timedelta(days=2)) > timedelta(hours=1))
    until = due + offset(VAULT.name, due, timedelta(days=2))
    rotate = UUID(deployed.deployments()["rotate"]["id"])
    parameters = {"credential": VAULT.name, "reason": "scheduled"}

    def until_when(**more: Any) -> Any:
        given = {"flow_id": rotate, "deployment_id": rotate, "parameters": parameters, "expected_start_time": due}
        run = FlowRun.model_validate({**given, "auto_scheduled": True, **more})
        monkeypatch.setattr(module, "FlowRunContext", SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run)))
        return at_the_server(deployed, module.put_off(VAULT.name, timedelta(days=2)))

    known = {each["id"] for each in deployed.prefect.runs_of("rotate", VAULT)}
    assert [until_when(), until_when()] == [until, until]
    (made,) = [each for each in deployed.prefect.runs_of("rotate", VAULT) if each["id"] not in known]
    assert datetime.fromisoformat(made["expected_start_time"]) == until
    assert (made["parameters"], made["auto_scheduled"]) == (parameters, False)
    deployed.prefect.get("DELETE", f"/flow_runs/{made['id']}")

    assert until_when(auto_scheduled=False) is None
    assert until_when(expected_start_time=due - timedelta(days=3)) is None, "it is late enough"


def test_no_more_than_so_many_are_at_a_provider_and_an_incident_does_not_wait(deployed: Deployed) -> None:
    limits = ProviderLimits(max_concurrent=1, min_interval=timedelta(seconds=1))
    at_provider = import_module("flows.at_provider").at_provider
    told: list[str] = []

    async def run(name: str, inside: asyncio.Event, leave: asyncio.Event, urgent: bool = False) -> None:
        async with at_provider("openai-org", limits, urgent=urgent):
            told.append(f"{name} in")
            inside.set()
            await leave.wait()
            told.append(f"{name} out")

    async def scene() -> None:
        first_in, second_in, third_in, leave, at_once = (asyncio.Event() for _ in range(5))
        at_once.set()
        first = asyncio.create_task(run("first", first_in, leave))
        await first_in.wait()
        second = asyncio.create_task(run("second", second_in, at_once))
        await run("incident", third_in, at_once, urgent=True)
        leave.set()
        await asyncio.gather(first, second)

    at_the_server(deployed, scene())
    assert told == ["first in", "incident in", "incident out", "first out", "second in", "second out"]
