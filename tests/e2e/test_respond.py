"""An incident of three credentials, of which one cannot be helped: the other two are, side by side, each by its policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyturn.commands.exits import Exit
from keyturn.testing.embedded import AWS, VAULT
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import Prefect

pytestmark = pytest.mark.real

BROKEN = "openai-broken"


@pytest.fixture
def three(installation: Installation) -> Path:
    """The first revokes first, the second proves first, and the secret of the third is not there."""
    content = json.loads(installation.config.read_text())
    credentials = content["credentials"]
    credentials[VAULT.name]["on_incident"] = "revoke_first"
    credentials[BROKEN] = {**credentials[AWS.name], "secrets": [{"store": "aws", "name": "prod/not/there"}]}
    credentials[BROKEN]["env"] = "OPENAI_API_KEY_BROKEN"
    path = installation.folder / "three.yaml"
    path.write_text(json.dumps(content))
    return path


def pages(prefect: Prefect, key: str) -> list[str]:
    found: list[dict[str, Any]] = prefect.get("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": [key]}}})
    return [each["data"] for each in found]


def test_three_leaked_keys_of_which_one_cannot_be_replaced(installation: Installation, three: Path) -> None:
    prefect = Prefect(installation)
    old = {each.name: installation.fingerprint(each) for each in (VAULT, AWS)}

    code, out = installation.keyturn("respond", VAULT.name, BROKEN, AWS.name, "--json", config=three)

    assert code == Exit.BEFORE_PIVOT, out
    told = json.loads(out)
    outcomes = {each["credential"]: each for each in told["outcomes"]}
    assert outcomes[BROKEN]["result"] == "stopped, not replaced"
    for each in (VAULT, AWS):
        assert outcomes[each.name]["result"] == "rotated, old key refused", outcomes
        now = installation.fingerprint(each)
        assert now != old[each.name]
        assert [key["fingerprint"] for key in installation.live_keys(each)] == [now]
        assert all(installation.chat(url, each) == 200 for url in installation.member_urls)
        assert any(f"rotation-{each.name}" and page for page in pages(prefect, f"rotation-{each.name}"))

    steps = {name: [line["step"] for line in told["timeline"] if line["credential"] == name] for name in outcomes}
    assert steps[VAULT.name].index("revoke_first") < steps[VAULT.name].index("create")
    assert "revoke_first" not in steps[AWS.name]

    (run,) = [
        each for each in prefect.runs(flows={"name": {"any_": ["respond"]}}) if BROKEN in each["parameters"]["credentials"]
    ]
    assert run["state"]["type"] == "FAILED"
    assert BROKEN in run["state"]["message"] and VAULT.name not in run["state"]["message"]
    (report,) = [page for page in pages(prefect, "incident") if BROKEN in page]
    assert "2 of 3: the leaked key is refused by its provider." in report
    assert report.index(f"| {BROKEN} ") < report.index(f"| {VAULT.name} ")
    assert "not known: no counters are looked at" in report

    # Called again for the old key of one: it is gone, and what is in service stays.
    code, out = installation.keyturn("respond", "--fingerprint", old[AWS.name], config=three)
    assert code != 0 and "no credential holds or remembers a key of this fingerprint" in out
    code, out = installation.keyturn("sweep", "--json")
    assert code == 0, out
