"""The stories of docs/testing.md that only real parts can tell. The others are in tests/steps/test_stories.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime

import httpx
import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import AWS, PROJECT, VAULT, Credential
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import STEPS, Prefect

pytestmark = pytest.mark.real

OVERLAP = 20  # seconds: the two commands before the calls take some of them


def served(installation: Installation, fingerprint: str) -> int:
    """For how many calls the provider has taken this key."""
    calls = installation.ask_provider("log")["keys"].get(fingerprint, {"served": 0})
    return int(calls["served"])


@pytest.mark.story("5: everybody rotates")
def test_one_run_that_two_processes_execute_makes_one_key_and_one_roll(prefect: Prefect, installation: Installation) -> None:
    keys, rolls, before = installation.made(VAULT), installation.rolls(), installation.fingerprint(VAULT)
    # Not scheduled, so that the worker leaves it alone: as if two workers had fetched it already.
    run = prefect.start("rotate", {"credential": VAULT.name}, state={"type": "PENDING"})
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "prefect.engine", run],
            cwd=ROOT,
            env={**os.environ, **installation.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        for process in both:
            process.wait(timeout=300)
    finally:
        for process in both:
            process.kill()
    assert prefect.ended(run)["state"]["type"] == "COMPLETED"
    now = installation.fingerprint(VAULT)
    assert now != before
    assert installation.made(VAULT) == keys + 1
    assert installation.rolls() == [count + 1 for count in rolls]
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [now]


@pytest.mark.story("6: store and proxy disagree")
@pytest.mark.story("8: the reload that lied")
@pytest.mark.parametrize("credential", [VAULT, AWS], ids=["vault", "aws"])
def test_the_provider_sees_each_member_send_what_the_store_holds(credential: Credential, installation: Installation) -> None:
    old = installation.fingerprint(credential)
    installation.rotate_json(credential)
    new = installation.fingerprint(credential)
    assert new != old
    assert [key["fingerprint"] for key in installation.live_keys(credential)] == [new]
    for member, url in enumerate(installation.member_urls):
        assert installation.member_status(member)["versions"][credential.name]["fingerprint"] == new
        before = served(installation, new), served(installation, old)
        for _ in range(5):
            assert installation.chat(url, credential) == 200
        assert (served(installation, new), served(installation, old)) == (before[0] + 5, before[1])


@pytest.mark.story("7: the overlap that was not")
def test_both_keys_are_served_through_the_whole_overlap(installation: Installation) -> None:
    old, provider = installation.current(VAULT), installation.provider_url
    installation.rotate_json(VAULT, "--overlap", f"{OVERLAP}s")
    until = datetime.fromisoformat(installation.status_json(VAULT)["retire_after"]).timestamp()
    calls = 0
    while time.time() < until:
        assert installation.chat(provider, VAULT, old) == 200
        for url in installation.member_urls:
            assert installation.chat(url, VAULT) == 200
        calls += 1
    assert calls > 1

    # Used after the roll, and by whom is not known: keyturn would watch it for ten minutes more. So a person deletes it.
    fingerprint = KeyMaterial(old).fingerprint()
    (key,) = [key for key in installation.live_keys(VAULT) if key["fingerprint"] == fingerprint]
    httpx.delete(
        f"{provider}/v1/organization/projects/{PROJECT}/api_keys/{key['id']}",
        headers={"Authorization": f"Bearer {installation.environ['OPENAI_ADMIN_KEY']}"},
        timeout=30,
        trust_env=False,
    ).raise_for_status()
    code, out = installation.keyturn("retire", VAULT.name)
    assert code == 0, out
    assert installation.status_json(VAULT)["next"]["step"] == "create", out


@pytest.mark.story("vault#18738: two credentials of one fleet, unproved at once")
def test_two_credentials_of_one_fleet_are_never_both_rolled_and_unproved(
    prefect: Prefect, installation: Installation
) -> None:
    runs = [prefect.start("rotate", {"credential": each.name}) for each in (VAULT, AWS)]
    unproved = []
    for run in runs:
        assert prefect.ended(run)["state"]["type"] == "COMPLETED"
        tasks = {task["name"].rsplit("-", 1)[0]: task for task in prefect.tasks(run, at_least=len(STEPS))}
        unproved.append((tasks["roll"]["start_time"], tasks["prove"]["end_time"]))
    (_, first_proved), (second_rolled, _) = sorted(unproved)
    assert datetime.fromisoformat(first_proved) <= datetime.fromisoformat(second_rolled)
