"""The tutorial as a stranger walks it: its commands, taken out of the page and typed one block after the other."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from keyturn.testing.embedded import VAULT, keyturn_program
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import Prefect

pytestmark = pytest.mark.real

BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def clone(installation: Installation, prefect: Prefect, tmp_path: Path) -> Path:
    """A clone after `make up`: the project's source, the programs, and the parts at work."""
    for name in ("flows", "tasks", "deployments"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(keyturn_program().parent)
    (tmp_path / "var" / "demo").mkdir(parents=True)
    installation.write_environment(tmp_path / "var" / "demo" / "environment.sh")
    return tmp_path


def test_every_command_of_the_tutorial_does_what_the_page_says(installation: Installation, clone: Path) -> None:
    first = installation.fingerprint(VAULT)
    said = typed(clone)
    looked, _, asked, written, planned, scheduled, asked_again, _, _, end, _ = said
    assert "openai-vault" in looked and "openai-aws" in looked and "2 of 2" in looked
    assert f"served-by {first}" in asked
    assert written == "" and "nothing in the way" in planned
    for act in ("created", "promoted", "rolled", "proved", "revoked"):
        assert act in scheduled
    served = re.findall(r"served-by (\w+)", asked_again + end)
    assert len({first, *served}) == 3, "by schedule and after the incident it is another key"
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [installation.fingerprint(VAULT)] == served[1:]
    assert not (clone / "keyturn.yaml").exists()


def typed(clone: Path) -> list[str]:
    """What each block prints, in one shell that goes on from block to block and stops at the first command that fails."""
    told = [clone / f"block-{n}.txt" for n, _ in enumerate(BLOCKS)]
    blocks = (f"exec > {shlex.quote(str(path))} 2>&1\n{block}" for path, block in zip(told, BLOCKS, strict=True))
    script = clone / "typed.sh"
    script.write_text("set -e\n" + "".join(blocks))
    given = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    shell = subprocess.Popen(["bash", script], cwd=clone, env=given | {"COLUMNS": "200"}, start_new_session=True)
    try:
        code = shell.wait(500)
    finally:
        with suppress(ProcessLookupError):  # what it has started in the background is of its group
            os.killpg(shell.pid, signal.SIGTERM)
    said = [path.read_text() for path in told if path.exists()]
    assert code == 0, f"this block failed:\n{BLOCKS[len(said) - 1]}\n{said[-1]}"
    return said
