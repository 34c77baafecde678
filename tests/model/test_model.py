"""The model test in the size of a test run. `make soak` goes on for an hour."""

from __future__ import annotations

import os

from tests.model.play import play


def test_x() -> None:
    play(int(os.environ.get("N", "200")), int(os.environ.get("SEED", "1")), shrink=os.environ.get("SHRINK") == "1")
