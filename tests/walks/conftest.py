"""A Walk for each test that asks for one, stopped at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.walks.walk import Walk


@pytest.fixture
def walks(tmp_path: Path) -> Iterator[Callable[..., Walk]]:
    """Makes a Walk with the provider running; its settings are those of Embedded."""
    made: list[Walk] = []

    def make(**settings: Any) -> Walk:
        made.append(Walk(tmp_path / f"walk-{len(made) + 1}", **settings))
        made[-1].start_provider()
        return made[-1]

    yield make
    for walk in made:
        walk.stop()
