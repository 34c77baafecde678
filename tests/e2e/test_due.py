"""`keyturn rotate --due`: what a journal in a real store says is due, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyturn.testing.embedded import AWS, VAULT, Credential
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real

OF_LATE, LONG_AGO = "1h", "1s"  # rotated not so long ago it is not due; rotated before that, or never, it is


def rotated_when_due(installation: Installation, config: Path, *words: str, **ages: str) -> list[dict[str, Any]]:
    """What `--due` did, each credential having this as its `max_age`."""
    content = json.loads(installation.config.read_text())
    for each in (VAULT, AWS):
        content["credentials"][each.name]["max_age"] = ages[each.secret["store"]]
    config.write_text(json.dumps(content))
    code, out = installation.keyturn("rotate", *words, "--due", "--json", config=config)
    assert code == 0, out
    found: list[dict[str, Any]] = json.loads(out)["outcomes"]
    return found


def test_what_is_due_by_its_journal_is_rotated_and_what_is_not_is_left_alone(
    installation: Installation, tmp_path: Path
) -> None:
    config = tmp_path / "keyturn.yaml"

    def made() -> dict[str, int]:
        return {each.name: installation.made(each) for each in (VAULT, AWS)}

    def and_one_more(of: Credential) -> dict[str, int]:
        return {name: count + (name == of.name) for name, count in before.items()}

    before = made()
    rows = rotated_when_due(installation, config, AWS.name, vault=LONG_AGO, aws=LONG_AGO)
    assert [(row["credential"], row["result"]) for row in rows] == [(AWS.name, "rotated, old key refused")]
    assert made() == and_one_more(AWS), "one that is due and was not named is left alone"

    before = made()
    rows = rotated_when_due(installation, config, vault=LONG_AGO, aws=OF_LATE)
    assert [(row["credential"], row["result"]) for row in rows] == [(VAULT.name, "rotated, old key refused")]
    assert made() == and_one_more(VAULT)

    for each in (VAULT, AWS):
        assert [key["fingerprint"] for key in installation.live_keys(each)] == [installation.fingerprint(each)]
