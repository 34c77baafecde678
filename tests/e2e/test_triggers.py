"""The same rotation by API, by schedule and by the UI's form; and what Prefect shows of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.testing.embedded import AWS, VAULT, Credential
from keyturn.testing.leaks import Needles, in_folder
from tests.e2e.conftest import Installation
from tests.e2e.prefect_api import STEPS, Prefect, until

pytestmark = pytest.mark.real


def old_key_refused(installation: Installation, fingerprint: str) -> bool:
    return not any(key["accepted"] for key in installation.provider_keys() if key["fingerprint"] == fingerprint)


def test_api_schedule_and_form_give_the_same_run(prefect: Prefect, installation: Installation) -> None:
    before = {each.name: installation.fingerprint(each) for each in (VAULT, AWS)}
    form = {"credential": VAULT.name, "reason": "manual", "overlap": None, "dry_run": False}
    triggers: list[Callable[[], str]] = [
        lambda: prefect.start("rotate", {"credential": VAULT.name}),
        lambda: _by_schedule(prefect, AWS),
        lambda: prefect.start("rotate", form, enforce_parameter_schema=True),
    ]
    runs = [prefect.ended(trigger()) for trigger in triggers]

    for run in runs:
        assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
        assert prefect.steps(run["id"], at_least=len(STEPS)) == STEPS
        prefect.log(run["id"], until_it_says="revoke: the old key is refused")
    assert [run["name"] for run in runs] == [f"{VAULT.name}-manual", f"{AWS.name}-scheduled", f"{VAULT.name}-manual"]
    for each in (VAULT, AWS):
        assert old_key_refused(installation, before[each.name])
        assert [key["fingerprint"] for key in installation.live_keys(each)] == [installation.fingerprint(each)]


def _by_schedule(prefect: Prefect, credential: Credential) -> str:
    """A schedule of the kind that keyturn.yaml gives, due in a moment; its run."""
    deployment, now = prefect.deployment("rotate"), datetime.now(UTC)
    soon = now + timedelta(seconds=2)
    schedule = {
        "schedule": {"interval": 86400, "anchor_date": soon.isoformat(), "timezone": "UTC"},
        "active": True,
        "slug": credential.name,
        "parameters": {"credential": credential.name, "reason": "scheduled"},
    }
    (made,) = prefect.get("POST", f"/deployments/{deployment['id']}/schedules", [schedule])
    # What the server's scheduler does every minute, or on a busy machine too late for a schedule that is due once a day.
    window = {"start_time": now.isoformat(), "end_time": (soon + timedelta(seconds=1)).isoformat(), "min_runs": 1}
    prefect.get("POST", f"/deployments/{deployment['id']}/schedule", window)

    def due() -> str | None:
        runs = [run for run in prefect.runs_of("rotate", credential) if run["auto_scheduled"]]
        first = min(runs, key=lambda run: run["expected_start_time"], default=None)
        return first["id"] if first and first["state"]["type"] != "SCHEDULED" else None

    run = until(due)
    prefect.get("DELETE", f"/deployments/{deployment['id']}/schedules/{made['id']}")
    return run


def test_two_runs_at_once_make_one_key_and_one_roll(prefect: Prefect, installation: Installation) -> None:
    made, rolls = installation.made(VAULT), installation.rolls()
    both = [prefect.start("rotate", {"credential": VAULT.name}) for _ in range(2)]
    runs = [prefect.ended(run) for run in both]
    assert [run["state"]["type"] for run in runs] == ["COMPLETED", "COMPLETED"]
    prefect.tasks(*both, at_least=1 + len(STEPS))
    assert sorted((prefect.steps(run["id"], at_least=1) for run in runs), key=len) == [["observe"], STEPS]
    assert installation.made(VAULT) == made + 1
    assert installation.rolls() == [count + 1 for count in rolls]
    (idle,) = [run["id"] for run in runs if prefect.steps(run["id"], at_least=1) == ["observe"]]
    prefect.log(idle, until_it_says="after this run was asked for")


def test_two_credentials_of_one_fleet_at_once_both_rotate(prefect: Prefect, installation: Installation) -> None:
    old = {each.name: installation.fingerprint(each) for each in (VAULT, AWS)}
    started = [prefect.start("rotate", {"credential": each.name}) for each in (VAULT, AWS)]
    for run in started:
        assert prefect.ended(run)["state"]["type"] == "COMPLETED", prefect.ended(run)["state"]["message"]
    for each in (VAULT, AWS):
        assert len(installation.live_keys(each)) == 1
        assert old_key_refused(installation, old[each.name])
        for member in range(installation.members):
            status = installation.member_status(member)
            assert status["versions"][each.name]["fingerprint"] == installation.fingerprint(each)


def test_after_the_overlap_a_run_of_its_own_revokes_the_old_key(prefect: Prefect, installation: Installation) -> None:
    begun, old = datetime.now(UTC), installation.fingerprint(VAULT)
    known = {run["id"] for run in prefect.runs_of("retire", VAULT)}
    run = prefect.ended(prefect.start("rotate", {"credential": VAULT.name, "overlap": "2s"}))
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert prefect.steps(run["id"], at_least=len(STEPS[:-1])) == STEPS[:-1]

    (asked_for,) = [each for each in prefect.runs_of("retire", VAULT) if each["id"] not in known]
    retire = prefect.ended(asked_for["id"])
    assert retire["state"]["type"] == "COMPLETED", retire["state"]["message"]
    assert retire["name"] == VAULT.name
    assert prefect.steps(retire["id"], at_least=2) == ["observe", "revoke"]
    assert old_key_refused(installation, old)
    _shows_what_happened(prefect, installation, begun)


def _shows_what_happened(prefect: Prefect, installation: Installation, begun: datetime) -> None:
    """The artifact's history has a page for each run; the events are there for automations; neither holds key text."""
    pages = prefect.get(
        "POST", "/artifacts/filter", {"artifacts": {"key": {"any_": [f"rotation-{VAULT.name}"]}}, "sort": "CREATED_DESC"}
    )
    revoked, rotated = (page["data"] for page in pages[:2])
    for page in (revoked, rotated):
        assert "| step | began | took | last word |" in page
        assert "**Next step:**" in page
        assert "## Timeline" in page
    assert "| prove |" in rotated and "| revoke |" in revoked

    names = {"keyturn.promoted", "keyturn.proved", "keyturn.revoked"}

    def all_there() -> dict[str, Any] | None:
        found = prefect.events(VAULT, begun)
        return found if names <= set(found) else None

    events = until(all_there)
    assert events["keyturn.promoted"]["payload"]["reason"] == "manual"
    assert events["keyturn.promoted"]["payload"]["rotation"] == events["keyturn.proved"]["payload"]["rotation"]
    assert events["keyturn.revoked"]["payload"]["key"]

    shown = "".join([revoked, rotated, *map(str, events.values())])
    assert installation.literal not in shown
    assert Needles([installation.current(VAULT)]).count(shown.encode()) == 0


def test_the_form_offers_names_and_a_wrong_one_is_not_stored(prefect: Prefect, installation: Installation) -> None:
    key = "sk-" + secrets.token_hex(24)
    for flow in ("rotate", "retire"):
        deployment = prefect.deployment(flow)
        assert deployment["enforce_parameter_schema"] is True
        assert deployment["parameter_openapi_schema"]["properties"]["credential"]["enum"] == [VAULT.name, AWS.name]
    count = len(prefect.runs())
    for wrong in (
        {"credential": "openai-staging"},
        {"credential": key},
        {"credential": VAULT.name, "overlap": key},
        {"credential": VAULT.name, "reason": key},
        {"credential": VAULT.name, "api_key": key},
    ):
        assert prefect.create("rotate", wrong).status_code == 409, wrong
    assert len(prefect.runs()) == count
    assert in_folder(Needles([key]), installation.folder) == []


def test_with_validation_off_a_pasted_key_stays_where_prefect_put_it(prefect: Prefect, installation: Installation) -> None:
    """It is stored before anything of ours runs. The run refuses it, and nothing repeats it."""
    keys = {name: "sk-" + secrets.token_hex(24) for name in ("credential", "overlap", "reason")}
    good = {"credential": VAULT.name}
    runs = {name: prefect.start("rotate", {**good, name: key}, enforce_parameter_schema=False) for name, key in keys.items()}
    made = installation.made(VAULT)
    for name, run in runs.items():
        ended = prefect.ended(run)
        assert ended["state"]["type"] == "FAILED"
        assert f"- {name}: " in ended["state"]["message"]
        prefect.log(run, until_it_says="Downloading flow code")
    assert installation.made(VAULT) == made
    found = {leak.place for leak in in_folder(Needles(list(keys.values())), installation.folder)}
    database = {place for place in found if "prefect.db: " in place}
    assert database == {"prefect.db: flow_run.parameters"}
    assert {place.split("/")[-1] for place in found - database} <= {"prefect.db", "prefect.db-wal"}, "in no log"
