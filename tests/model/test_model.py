"""The model test in the size of a test run. `make soak` goes on for an hour, from a seed of its own."""

from __future__ import annotations

import os

import pytest

from tests.model.play import play

pytestmark = pytest.mark.model

EXAMPLES = 5000
SEED = int(os.environ.get("KEYTURN_SEED", "1"))
HALVES = [2 * SEED, 2 * SEED + 1]  # two at a time


@pytest.mark.parametrize("seeded", HALVES, ids=lambda seeded: f"seed {seeded}")
def test_histories_of_everything_at_once(seeded: int) -> None:
    assert play(EXAMPLES // len(HALVES), seeded) >= EXAMPLES // len(HALVES)
