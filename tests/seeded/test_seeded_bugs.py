"""Each seeded bug is put into a copy of the project, and its test has to go red there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.seeded.bugs import SLIPS, STORIES, Bug
from tests.test_house import ROOT

pytestmark = pytest.mark.seeded

BUGS = (*STORIES, *SLIPS)
COPIED = ("keyturn", "flows", "tasks", "deployments", "tests")
FAILED = 1  # pytest's code for tests that ran and failed; others are faults of the run itself


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_suite_catches(bug: Bug, copy: Path) -> None:
    path = copy / bug.file
    source = path.read_text()
    assert source.count(bug.old) == 1, f"{bug.file} does not hold it once"
    path.write_text(source.replace(bug.old, bug.new))
    words = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", "-m", "not real"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [*words, bug.caught_by],
        cwd=copy,
        env={**environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == FAILED, done.stdout[-3000:] + done.stderr[-1000:]


def test_every_bug_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
