"""The audit log, the inventory and the metrics, on real parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from keyturn.testing.embedded import AWS, VAULT
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import Prefect, until

pytestmark = pytest.mark.real


def test_a_rotation_is_in_the_audit_log_and_no_key_is(installation: Installation, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    audit = json.dumps({"file": str(log), "key": "env:KEYTURN_CONTROL_TOKEN"})
    config = installation.edited("audited", ('"providers": {', f'"audit": {audit}, "providers": {{'))
    old = installation.current(VAULT)
    code, out = installation.keyturn("rotate", VAULT.name, config=config)
    assert code == 0, out
    code, out = installation.keyturn("audit", "verify", "--json", config=config)
    assert code == 0 and json.loads(out)["well"], out
    records = json.loads(installation.keyturn("audit", "show", VAULT.name, "--json", config=config)[1])
    acts = ["asked", "created", "promoted", "rolled", "proved", "revoking", "revoked"]
    assert [each["act"] for each in records] == acts
    assert records[0]["by"]["who"] == "terminal" and records[0]["by"]["run"]
    (evidence,) = records[-1]["evidence"]
    assert len(evidence["members"]) == installation.members and all(each["counts"] for each in evidence["members"])
    content = log.read_text()
    assert old not in content and installation.current(VAULT) not in content


def test_the_inventory_and_the_metrics_tell_of_every_key(prefect: Prefect, installation: Installation) -> None:
    until(lambda: prefect.ask("GET", "/deployments/name/inventory/keyturn").is_success or None)  # it is registered last
    run = prefect.ended(prefect.start("inventory", {}))
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    artifacts = prefect.get("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    made = {each["key"]: each["data"] for each in artifacts}
    rows = {each["credential"]: each for each in json.loads(made["inventory"])}
    assert {name: rows[name]["life"] for name in (VAULT.name, AWS.name)} == {VAULT.name: "alive", AWS.name: "alive"}
    assert VAULT.name in made["key-ages"]

    for flow, parameters in (("rotate", {"credential": AWS.name}), ("sweep", {})):
        run = prefect.ended(prefect.start(flow, parameters))
        assert run["state"]["type"] == "COMPLETED", run["state"]["message"]

    def told() -> dict[str, list[Sample]] | None:
        """Of tasks the server hears a little later than of runs."""
        code, out = installation.keyturn("metrics")
        assert code == 0, out
        found = {each.name: each.samples for each in text_string_to_metric_families(out)}
        return found if found["keyturn_step_seconds"] else None

    found = until(told)
    assert {each.labels["credential"] for each in found["keyturn_seen"] if each.value == 1} == {VAULT.name, AWS.name}
    assert found["keyturn_last_sweep_timestamp_seconds"]
