"""Files that LiteLLM reads at each request: a roll replaces them, and restarts nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.testing.embedded import VAULT
from keyturn.testing.litellm import executable, file_reader
from tests.walks.walk import Walk, Way

pytestmark = pytest.mark.real


def by_file(folder: Path, litellm: Path) -> Way:
    options = ("--deliver", "file", "--keys-folder", folder)
    return Way(options, f"oidc/file/{folder}/{{variable}}", litellm)


async def test_a_roll_restarts_nothing_and_no_request_fails(walks: Callable[..., Walk], tmp_path: Path) -> None:
    walk = walks(credentials=(VAULT,))
    walk.start_vault()
    walk.write_configuration()
    folders = [tmp_path / f"keys-{n + 1}" for n in range(walk.members)]
    walk.start_proxies([by_file(folder, file_reader()) for folder in folders])
    pids = walk.pids()

    async with walk.under_traffic():
        first = walk.fingerprint(VAULT)
        assert walk.on_the_wire(VAULT) == [first, first]
        for rotated in (1, 2):
            _, new = await walk.rotate(VAULT)
            assert walk.on_the_wire(VAULT) == [new, new]
            for n in range(walk.members):
                status = walk.member_status(n)
                assert (status["starts"], status["rolls"]) == (1, rotated)
                assert status["versions"][VAULT.name]["fingerprint"] == new

    assert walk.pids() == pids
    assert walk.leaks() == []
    for folder in folders:
        assert [path.name for path in folder.iterdir()] == [VAULT.variable]
    walk.processes.stop("member-1")
    assert list(folders[0].iterdir()) == []


def test_a_litellm_that_does_not_read_them_is_refused_before_it_serves(walks: Callable[..., Walk], tmp_path: Path) -> None:
    walk = walks(credentials=(VAULT,), members=1)
    walk.start_vault()
    walk.write_configuration()
    process = walk.start_proxy(0, by_file(tmp_path / "keys", executable()))
    assert process.wait(240) == 2
    log = (walk.folder / "logs" / "member-1.log").read_text()
    assert "the program is LiteLLM 1.106.2, which would send the path of a key's file as the key" in log
    assert "keyturn INFO ready with" not in log
    assert list((tmp_path / "keys").iterdir()) == []
