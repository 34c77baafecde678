"""The example of automations is what Prefect takes, and waits for events that keyturn tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore

from keyturn.lifecycle import Reason

ROOT = Path(__file__).parent.parent.parent
PATH = ROOT / "deployments" / "automations.example.yaml"
EXAMPLES: list[dict[str, Any]] = yaml.safe_load(PATH.read_text())["automations"]


def told() -> set[str]:
    """Every event that a flow tells."""
    texts = [path.read_text() for path in (ROOT / "flows").glob("*.py")]
    return {f"keyturn.{name}" for text in texts for name in re.findall(r'\btell\("(\w+)"', text)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_prefect_takes_it_as_it_stands(example: dict[str, Any]) -> None:
    AutomationCore.model_validate(example)
    known = set(AutomationCore.model_fields)
    assert set(example) <= known, "a name that Prefect does not know would be dropped without a word"


def test_what_they_wait_for_is_told() -> None:
    awaited = {event for each in EXAMPLES for event in each["trigger"]["expect"] if event.startswith("keyturn.")}
    assert awaited <= told()


def test_an_incident_is_called_with_names_that_are_written_down() -> None:
    calls = [action for each in EXAMPLES for action in each["actions"] if action["type"] == "run-deployment"]
    assert calls
    for call in calls:
        assert "{{" not in str(call["parameters"])
        assert Reason(call["parameters"]["reason"]) is Reason.INCIDENT


def test_the_page_names_every_event() -> None:
    page = (ROOT / "docs" / "observing.md").read_text()
    assert {name for name in told() if f"`{name}`" not in page} == set()
