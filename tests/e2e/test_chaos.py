"""The small chaos run: whatever is done to a rotation, nothing is left over, lost or leaked. See docs/testing.md."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.real


@pytest.mark.timeout(1900)
def test_every_fault_ends_with_one_key_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of another seed each time; KEYTURN_SEED=N plays those of N."""
    seed = os.environ.get("KEYTURN_SEED") or str(secrets.randbelow(10**9))
    with capsys.disabled():
        sys.stdout.write(f"\nchaos --size ci --seed {seed}\n")
    program = [sys.executable, "-m", "tests.chaos", "--size", "ci", "--seed", seed, "--folder", str(tmp_path / "chaos")]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    told = done.stdout + done.stderr[-20_000:]
    assert done.returncode == 0, told
    report = json.loads((tmp_path / "chaos" / "report.json").read_text())
    assert report["faulted_rotations"] >= 20, told
    assert report["converged"] == report["faulted_rotations"]
    for never in ("orphans", "outages", "lost_fields", "double_rolls", "leaked_bytes", "unexpected_errors"):
        assert report[never] == 0, told
