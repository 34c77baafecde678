"""A person rotates a key in Prefect's UI, and reads there what became of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from keyturn.testing.embedded import AWS, VAULT
from keyturn.testing.leaks import Needles
from tests.browser.prefect_ui import PrefectUI, table
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import STEPS

pytestmark = pytest.mark.e2e


@pytest.fixture
def refuses_new_keys(browser_installation: Installation) -> Iterator[None]:
    """The provider makes keys, and accepts none of them for an hour."""
    at = f"{browser_installation.provider_url}/_sim/behaviour"
    usual = httpx.get(at, trust_env=False).json()
    httpx.post(at, json={"accept_delay": 3600}, trust_env=False).raise_for_status()
    yield
    httpx.post(at, json=usual, trust_env=False).raise_for_status()


def test_a_key_is_rotated_from_the_form_and_the_page_of_the_run_tells_all(
    ui: PrefectUI, browser_installation: Installation
) -> None:
    old = browser_installation.current(VAULT)
    ui.open_form("rotate")
    assert ui.choose("credential", VAULT.name) == [VAULT.name, AWS.name]
    assert ui.choose("reason", "manual") == ["scheduled", "manual", "incident"]
    ui.write("overlap", "0s")
    ui.picture("form")
    run = ui.submit()
    ui.ends("Completed")
    ui.picture("run")

    shown = ui.artifact(run, f"rotation-{VAULT.name}")
    expect(shown).to_contain_text("Rotated, old key refused.")
    expect(shown).to_contain_text("Next step: none")
    asked = table(shown, VAULT.name)
    assert (asked["why"], asked["overlap"], asked["dry_run"]) == (["manual"], ["0s"], ["no"])
    assert asked["members proved"] == ["2 of 2"]
    assert list(table(shown, "last word")) == [step for step in STEPS if step != "tidy"], "which has nothing to say"
    members = table(shown, "counts")
    assert len(members) == browser_installation.members
    assert all(cells[2] == "yes" for cells in members.values())
    assert "rolling" in shown.inner_text(), "the timeline"
    ui.picture("artifact", shown)

    new = browser_installation.current(VAULT)
    assert new != old
    assert Needles([old, new]).count(ui.page.content().encode()) == 0


def test_a_dry_run_creates_nothing_and_says_what_would_be_done(ui: PrefectUI, browser_installation: Installation) -> None:
    made = browser_installation.made(AWS)
    ui.open_form("rotate")
    ui.choose("credential", AWS.name)
    ui.switch_on("dry_run")
    run = ui.submit()
    ui.ends("Completed")
    shown = ui.artifact(run, f"rotation-{AWS.name}")
    expect(shown).to_contain_text("Planned.")
    expect(shown).to_contain_text("Next step: run it without the dry run")
    assert list(table(shown, "last word")) == ["observe", "preflight"]
    assert browser_installation.made(AWS) == made


def test_where_the_canary_refuses_the_new_key_the_page_says_where_it_stopped_and_what_to_do(
    ui: PrefectUI, browser_installation: Installation, refuses_new_keys: None
) -> None:
    current = browser_installation.current(AWS)
    ui.open_form("rotate")
    ui.choose("credential", AWS.name)
    run = ui.submit()
    ui.ends("Failed")
    ui.picture("failed-run")
    shown = ui.artifact(run, f"rotation-{AWS.name}")
    expect(shown).to_contain_text("Stopped at validate.")
    expect(shown).to_contain_text("Nothing that is in service was changed by this run.")
    expect(shown).to_contain_text("Next step: check the key's project and scopes")
    steps = table(shown, "last word")
    assert steps["validate"][-1].startswith("stopped: the provider refuses the new key")
    assert "undo" in steps and "promote" not in steps
    ui.picture("failed-artifact", shown)
    assert browser_installation.current(AWS) == current
    assert Needles([current]).count(ui.page.content().encode()) == 0
