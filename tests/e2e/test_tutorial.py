"""The tutorial as a stranger walks it: its commands, taken out of the page and typed one block after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyturn.testing.embedded import VAULT, keyturn_program
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import Prefect
from tests.e2e.shell import Shell

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
    with Shell(clone) as shell:
        said = shell.type(BLOCKS)
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
