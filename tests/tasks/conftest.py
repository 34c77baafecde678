"""One Prefect server for the tests of the tasks, and a look at all that it has kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import (
    PREFECT_HOME,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from keyturn.testing.leaks import Leak, Needles, in_folder


@dataclass(frozen=True)
class Kept:
    """Where Prefect keeps things: its database, and its home with persisted results."""

    home: Path
    database: Path

    def leaks(self, text: str) -> list[Leak]:
        needles = Needles([text])
        return in_folder(needles, self.database.parent) + in_folder(needles, self.home)

    async def log(self, run: UUID, until: str) -> str:
        """The run's log, as soon as it holds a text. What is logged arrives a little later than it is said."""
        deadline, log = time.monotonic() + 60, ""
        async with get_client() as client:
            while until not in log:
                assert time.monotonic() < deadline, f"{until!r} is not in the log:\n{log}"
                await asyncio.sleep(0.1)
                lines = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])), limit=200)
                log = "\n".join(line.message for line in lines)
        return log


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    home = tmp_path_factory.mktemp("prefect")
    settings = {PREFECT_HOME: home, PREFECT_SERVER_ANALYTICS_ENABLED: False}
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=120):
        url: str = PREFECT_SERVER_DATABASE_CONNECTION_URL.value()
        yield Kept(home, Path(url.removeprefix("sqlite+aiosqlite:///")))
