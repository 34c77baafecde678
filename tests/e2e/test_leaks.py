"""A key's text is in the stores, the proxies and the provider, and nowhere else: also after failures."""

from __future__ import annotations

import os
import secrets

import pytest

from keyturn.testing.embedded import AWS, VAULT
from keyturn.testing.leaks import Needles, descendants, in_folder, in_processes
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real


def test_no_log_database_artifact_event_or_command_line_holds_key_text(installation: Installation) -> None:
    for credential in (VAULT, AWS):
        installation.rotate_json(credential)  # at DEBUG, as everything of this installation
    installation.tell_provider("faults", operation="delete_key", kind="status", status=500, times=None)
    try:
        code, _ = installation.keyturn("rotate", VAULT.name)
    finally:
        installation.forget_faults()
    assert code == 5, "rotated, and the revocation is pending"
    installation.keyturn("retire", VAULT.name)
    installation.tell_provider("faults", operation="create_key", kind="lose_answer")
    installation.rotate_json(AWS)

    needles = Needles([installation.literal, *installation.first_keys.values()])
    assert in_folder(needles, installation.folder) == []
    proxies = {
        child
        for name, process in installation.processes.running.items()
        if name.startswith("member-")
        for child in descendants(process.pid)
    }
    assert proxies, "the proxies run"
    assert in_processes(needles, sorted(proxies)), "and hold their keys: the search can see them"
    assert in_processes(needles, sorted(set(descendants(os.getpid())) - proxies)) == []


def test_the_same_search_finds_a_key_that_was_planted_in_prefect(installation: Installation) -> None:
    planted = "sk-" + secrets.token_hex(24)
    # A free-text name is the kind of place where somebody would put one by mistake.
    installation.plant_in_prefect(planted)
    places = {leak.place for leak in in_folder(Needles([planted]), installation.folder / "prefect")}
    assert any("variable.value" in place for place in places), places
