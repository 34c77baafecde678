"""Two leaked keys, of which one is not ended before a person has said so in Prefect: by the form of the run that asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.commands.exits import Exit
from keyturn.testing.embedded import AWS, READY_SECONDS, VAULT, keyturn_program
from keyturn.testing.processes import wait_for_http
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import Prefect, until

pytestmark = pytest.mark.real


@pytest.fixture
def asking(installation: Installation) -> Iterator[Path]:
    """A keyturn.yaml by which one credential asks, and `keyturn serve` with it."""
    content = json.loads(installation.config.read_text())
    content["credentials"][VAULT.name]["approval"] = {"when": ["incident"], "timeout": "1h", "then": "keep"}
    content["audit"] = {"file": str(installation.folder / "approval.log")}
    path = installation.folder / "asking.yaml"
    path.write_text(json.dumps(content))
    environ = {**installation.environ, "KEYTURN_CONFIG": str(path), "KEYTURN_ROOT": str(ROOT)}
    process = installation.processes.start("asking", [keyturn_program(), "serve"], env=environ, cwd=ROOT)
    wait_for_http(f"{installation.prefect_url}/api/deployments/name/approve/keyturn", seconds=READY_SECONDS, process=process)
    yield path
    installation.processes.stop("asking", grace=20)


def test_a_leaked_key_lives_until_somebody_says_so_in_prefect_and_the_other_one_does_not(
    installation: Installation, asking: Path
) -> None:
    prefect = Prefect(installation)
    old = {each.name: installation.fingerprint(each) for each in (VAULT, AWS)}

    code, out = installation.keyturn("respond", VAULT.name, AWS.name, "--json", config=asking)

    assert code == Exit.REVOCATION_PENDING, out
    outcomes = {each["credential"]: each for each in json.loads(out)["outcomes"]}
    assert outcomes[AWS.name]["result"] == "rotated, old key refused"
    assert "a person is asked" in outcomes[VAULT.name]["sentence"]
    now = installation.fingerprint(VAULT)
    assert now != old[VAULT.name] and all(installation.chat(url, VAULT) == 200 for url in installation.member_urls)

    def paused() -> Any:
        found = [run for run in prefect.runs_of("approve", VAULT) if run["state"]["type"] == "PAUSED"]
        return found[0] if found else None

    asked = until(paused)
    refused: list[Any] = [{}, {"run_input": {}}, {"run_input": {"answer": "perhaps"}}]
    refused += [{"run_input": {"answer": "revoke", "note": "anything else would be kept"}}]
    for given in refused:
        answer = prefect.ask("POST", f"/flow_runs/{asked['id']}/resume", given)
        assert answer.json()["status"] == "REJECT", "an answer is required, and one of the two"
    assert paused() is not None
    assert {key["fingerprint"] for key in installation.live_keys(VAULT)} == {old[VAULT.name], now}

    answer = prefect.ask("POST", f"/flow_runs/{asked['id']}/resume", {"run_input": {"answer": "revoke"}})
    assert answer.json()["status"] == "ACCEPT", answer.text
    assert prefect.ended(asked["id"])["state"]["type"] == "COMPLETED"
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [now]

    records = [json.loads(line) for line in (installation.folder / "approval.log").read_text().splitlines()]
    (answered,) = [each for each in records if each.get("act") == "answered"]
    assert answered["facts"] == {
        "answer": "revoke",
        "given": "in Prefect, whose open server does not say by whom",
        "text": old[VAULT.name],
    }
    code, out = installation.keyturn("approve", VAULT.name, config=asking)
    assert code == Exit.NOT_WELL and "no key of this credential waits for an answer" in out

    # Again, and this time answered at a terminal: what is asked in Prefect is withdrawn.
    code, out = installation.keyturn("respond", VAULT.name, config=asking)
    assert code == Exit.REVOCATION_PENDING, out
    asked = until(paused)
    code, out = installation.keyturn("approve", VAULT.name, config=asking)
    assert code == Exit.DONE, out
    assert prefect.ended(asked["id"])["state"]["type"] == "CANCELLED"
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [installation.fingerprint(VAULT)]
