"""Two credentials in one run of Prefect's, of which one fails: each is told by its name, and a retry does that one alone."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.testing.embedded import AWS, VAULT
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import Prefect, until

pytestmark = pytest.mark.real

MISSING = "prod/not/there"


def states(prefect: Prefect, run: str, wanted: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The states of the tasks that bear the credentials' names, the latest of each, once they are as wanted."""

    def look() -> dict[str, dict[str, Any]] | None:
        tasks = prefect.get("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}, "limit": 200})
        of_name = {task["name"]: task["state"] for task in sorted(tasks, key=lambda task: str(task["start_time"]))}
        found = {name: of_name[name] for name in wanted if of_name.get(name)}
        return found if {name: state["name"] for name, state in found.items()} == wanted else None

    return until(look)


def test_one_of_two_fails_and_a_retry_of_the_run_does_that_one_alone(installation: Installation, prefect: Prefect) -> None:
    good, both = installation.config.read_text(), (VAULT, AWS)
    assert AWS.secret["name"] in good
    made = {each.name: installation.made(each) for each in both}
    installation.config.write_text(good.replace(AWS.secret["name"], MISSING))
    try:
        run = prefect.start("rotate_many", {"credentials": [AWS.name, VAULT.name], "overlap": "0s"})
        ended = prefect.ended(run)
    finally:
        installation.config.write_text(good)
    assert ended["state"]["type"] == "FAILED"
    assert AWS.name in ended["state"]["message"] and VAULT.name not in ended["state"]["message"]
    found = states(prefect, run, {VAULT.name: "rotated, old key refused", AWS.name: "Failed"})
    assert MISSING in found[AWS.name]["message"]
    of_this = {"artifacts": {"key": {"any_": ["rotate-many"]}}, "flow_runs": {"id": {"any_": [run]}}}
    (table,) = prefect.get("POST", "/artifacts/filter", of_this)
    assert AWS.name in table["data"] and "rotated, old key refused" in table["data"]
    assert [installation.made(each) - made[each.name] for each in both] == [1, 0]

    again = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}  # the UI's button
    prefect.get("POST", f"/flow_runs/{run}/set_state", again)
    states(prefect, run, {VAULT.name: "nothing to do", AWS.name: "rotated, old key refused"})
    assert prefect.ended(run)["state"]["type"] == "COMPLETED"
    assert [installation.made(each) - made[each.name] for each in both] == [1, 1]
