"""A run that is killed after any outside effect is finished by running `keyturn rotate` again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from keyturn.testing.embedded import AWS, VAULT, Credential
from tests.e2e.conftest import ROOT, Installation

pytestmark = pytest.mark.real

# The line that a step says right after its effect, before it does anything else.
DEATHS = {
    "create": ("create", "created key_"),
    "write": ("write", "staged in"),
    "promote": ("promote", "is now the new key"),
    "roll, one member": ("roll", "serves the new key"),
    "roll, all members": ("roll", "every member serves"),
}


@pytest.mark.parametrize("credential", [VAULT, AWS], ids=["vault", "aws"])
@pytest.mark.parametrize("after", DEATHS)
def test_a_run_killed_after(after: str, credential: Credential, installation: Installation) -> None:
    before, rolls = installation.fingerprint(credential), installation.rolls()
    program = [sys.executable, "-m", "tests.e2e.killed_run", credential.name, *DEATHS[after]]
    killed = subprocess.run(
        program,
        cwd=ROOT,
        env={**os.environ, **installation.environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr

    outcome = installation.rotate_json(credential)

    assert outcome["result"] == "rotated, old key refused"
    now = installation.fingerprint(credential)
    assert now != before
    assert [key["fingerprint"] for key in installation.live_keys(credential)] == [now], "one live key, and no stray"
    assert installation.rolls() == [count + 1 for count in rolls], "one roll for each member"
    for member in range(installation.members):
        assert installation.member_status(member)["versions"][credential.name]["fingerprint"] == now
    standing = installation.status_json(credential)
    assert (standing["strays"], standing["next"]["step"]) == (0, "create"), "nothing half-way: next is a new rotation"
