"""Rollback and sweep with real parts: a member that takes no new key, a run that died, a stray, a person's hand."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.commands.exits import Exit
from keyturn.testing.embedded import ACCOUNT, AWS, PROJECT, VAULT, Credential
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import Prefect

pytestmark = pytest.mark.real

LONG = 2 * 3600  # seconds: older than any create that may still be on its way to be written


@pytest.fixture
def refusing(installation: Installation) -> Iterator[Path]:
    """The second member starts with the keys of now alone, until this file is gone."""
    held = {version["fingerprint"] for n in range(installation.members) for version in versions(installation, n).values()}
    path = installation.folder / "only-2"
    path.write_text(" ".join(held))
    yield path
    path.unlink(missing_ok=True)


def versions(installation: Installation, member: int) -> dict[str, Any]:
    found: dict[str, Any] = installation.member_status(member)["versions"]
    return found


def serving(installation: Installation, credential: Credential) -> set[str]:
    return {versions(installation, n)[credential.name]["fingerprint"] for n in range(installation.members)}


def works(installation: Installation, credential: Credential) -> bool:
    """Whether each member answers a request."""
    return all(installation.chat(url, credential) == 200 for url in installation.member_urls)


@pytest.mark.parametrize("credential", [VAULT, AWS], ids=["vault", "aws"])
def test_a_key_that_a_member_does_not_take_is_taken_back_and_tried_again(
    credential: Credential, installation: Installation, refusing: Path
) -> None:
    old, keys = installation.fingerprint(credential), installation.made(credential)

    code, out = installation.keyturn("rotate", credential.name)

    assert code == Exit.ROLLED_BACK, out
    assert "the previous key is served again by every member" in out
    assert installation.fingerprint(credential) == old
    assert serving(installation, credential) == {old}
    assert works(installation, credential)
    assert len(installation.live_keys(credential)) == 2, "the new one is kept, to be tried again"

    refusing.unlink()
    outcome = installation.rotate_json(credential)
    assert outcome["result"] == "rotated, old key refused"
    assert installation.made(credential) == keys + 1, "no second key was created for it"
    now = installation.fingerprint(credential)
    assert [key["fingerprint"] for key in installation.live_keys(credential)] == [now]
    assert serving(installation, credential) == {now} != {old}
    assert works(installation, credential)


def test_by_hand_the_way_back_is_for_good(installation: Installation) -> None:
    old = installation.fingerprint(VAULT)
    installation.rotate_json(VAULT, "--overlap", "1h")
    new = installation.fingerprint(VAULT)

    code, out = installation.keyturn("rollback", VAULT.name)
    assert code == 0, out
    assert installation.fingerprint(VAULT) == old
    assert serving(installation, VAULT) == {old} and works(installation, VAULT)
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [old], f"and {new} is revoked"

    code, out = installation.keyturn("sweep", "--json")
    assert "rolled back" in out, "it is parked: nothing goes on by itself"
    assert installation.fingerprint(VAULT) == old
    installation.rotate_json(VAULT)
    assert installation.fingerprint(VAULT) not in (old, new)


def test_a_sweep_finishes_what_died_revokes_a_stray_and_tells_of_a_persons_hand(
    prefect: Prefect, installation: Installation
) -> None:
    installation.rotate_json(AWS)  # a key whose name tells what keyturn's names for it look like
    before = installation.fingerprint(VAULT)
    dead = subprocess.run(
        [sys.executable, "-m", "tests.e2e.killed_run", VAULT.name, "promote", "is now the new key"],
        cwd=ROOT,
        env={**os.environ, **installation.environ},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL
    stray = stray_key(installation, AWS)
    by_hand = installation.tell_provider("keys", project=PROJECT, name="by hand", account=ACCOUNT)
    installation.aws_client().put_secret_value(SecretId=AWS.secret["name"], SecretString=by_hand["value"])

    run = prefect.ended(prefect.start("sweep", {}))

    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    now = installation.fingerprint(VAULT)
    assert now != before
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [now], "it was finished, and the old one revoked"
    assert serving(installation, VAULT) == {now}
    assert stray not in [key["id"] for key in installation.provider_keys() if key["accepted"]]
    assert installation.current(AWS) == by_hand["value"], "a person's value is left alone"
    prefect.log(run["id"], until_it_says=f"somebody has changed the current value of aws:{AWS.secret['name']}")
    children = prefect.runs(flow_runs={"parent_flow_run_id": {"any_": [run["id"]]}})
    assert [child["parameters"]["credential"] for child in children] == [VAULT.name], "a run of its own, which Prefect shows"

    code, out = installation.keyturn("sweep", "--json")
    assert code == Exit.NOT_WELL and "somebody has changed" in json.dumps(json.loads(out))
    installation.rotate_json(AWS)
    assert installation.fingerprint(AWS) in serving(installation, AWS)
    code, out = installation.keyturn("sweep", "--json")
    assert code == 0, out


def stray_key(installation: Installation, credential: Credential) -> str:
    """A key of keyturn's own name, made long ago by a run of which nothing is left; its id."""
    (like, *_) = [
        key["name"] for key in installation.provider_keys() if key["name"].startswith(f"keyturn-{credential.name}-")
    ]
    name = f"{like.rsplit('-', 1)[0]}-{secrets.token_hex(6)}"
    found = installation.tell_provider("keys", project=PROJECT, name=name, account=ACCOUNT)
    installation.tell_provider("age", project=PROJECT, seconds=LONG)
    return str(found["id"])
