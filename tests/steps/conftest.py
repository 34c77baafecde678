"""Everything here runs the flows without Prefect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.steps.plain_flows import plainly


@pytest.fixture(autouse=True)
def _without_prefect() -> Iterator[None]:
    with plainly():
        yield
