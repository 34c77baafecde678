"""What `status`, `plan` and `deploy` say where an environment follows another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.commands import flows
from tests.commands.conftest import CONFIG, Terminal

FOLLOWS = "follows: {{environment: staging, file: {}, bake: 1d, at_most: 7d, then: wait}}\n"


@pytest.fixture
def after_staging(terminal: Terminal, tmp_path: Path) -> Terminal:
    """Staging's file is another one; its secret is in the same memory, which has seen no rotation."""
    staging = tmp_path / "staging.yaml"
    staging.write_text(CONFIG)
    terminal.config.write_text(CONFIG + FOLLOWS.format(staging))
    return terminal


def test_status_and_plan_say_what_is_waited_for(after_staging: Terminal) -> None:
    waits = "waits for staging: not rotated there since it is in keyturn's hands"
    assert after_staging.json("status")["openai-prod"]["held_up"] == waits
    assert f"openai-prod: by schedule it {waits}" in after_staging.type("status").stdout
    assert f"by schedule it {waits}" in after_staging.json("plan", "openai-prod")["risks"]


def test_status_says_nothing_where_nothing_is_followed(terminal: Terminal) -> None:
    assert terminal.json("status")["openai-prod"]["held_up"] == ""


def test_deploy_says_which_environment_comes_first(after_staging: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setattr(flows, "load", lambda *_: lambda *_: [])
    told = after_staging.type("deploy").stdout
    assert "staging comes first" in told and "for 1d; at most 7d, then: wait" in told
