"""Two installations, over SQLite and over PostgreSQL, on which everything has gone wrong, and which were searched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from keyturn.testing.embedded import VAULT, Database
from keyturn.testing.leaks import Leak, Needles, in_folder
from keyturn.testing.scanners import Finding, scan
from keyturn.testing.watch import Watch
from tests.e2e.conftest import ROOT
from tests.leaks.causes import provider
from tests.leaks.evidence import collect, settle
from tests.leaks.failures import FAILURES
from tests.leaks.loud import Loud, Ran

DATABASES: tuple[Database, ...] = get_args(Database)


@dataclass(frozen=True)
class Searched:
    """An installation after all failures. `leaks`, `findings`: what the two nets found before anybody planted a key."""

    loud: Loud
    ran: Mapping[str, Ran]
    watch: Watch
    evidence: Path
    leaks: tuple[Leak, ...]
    findings: tuple[Finding, ...]


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Database, Searched]]:
    with ExitStack() as stack:
        louds = {database: Loud(tmp_path_factory.mktemp(database), database) for database in DATABASES}
        for loud in louds.values():
            stack.callback(loud.stop)
        # Side by side: much of it is waiting.
        with ThreadPoolExecutor() as threads:
            yield dict(zip(louds, threads.map(search, louds.values()), strict=True))


@pytest.fixture(params=DATABASES)
def searched(request: pytest.FixtureRequest, both: Mapping[Database, Searched]) -> Searched:
    return both[request.param]


def search(loud: Loud) -> Searched:
    loud.start()
    ran: dict[str, Ran] = {}
    with loud.at_work() as watch:
        for failure in FAILURES[loud.database]:
            ran[failure.name] = failure.happen(loud)
        ran["after all of that"] = loud.run("rotate", VAULT.name)
        with provider("create_key", "status", status=401)(loud):
            ran["as a program"] = loud.run_program("rotate", VAULT.name, "--json")
            ran["by the API"] = by_the_api(loud)
        ran["without Prefect"] = loud.run_program("rotate", VAULT.name, env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    settle(loud)
    evidence = collect(loud, "after-the-failures")
    leaks = in_folder(Needles(loud.secrets), loud.folder)
    if loud.postgres is not None:
        # Its raw files hold what was deleted, and what no cell shows any more.
        loud.postgres.execute("CHECKPOINT")
        leaks += in_folder(Needles(loud.secrets), loud.postgres.folder / "data")
    return Searched(loud, ran, watch, evidence, tuple(leaks), tuple(scan(loud.folder)))


def by_the_api(loud: Loud) -> Ran:
    """A run of `rotate/keyturn` in the process that `keyturn serve` starts for it; its state's message."""
    loud.start_worker(ROOT)
    try:
        deployment = loud.prefect("GET", "/deployments/name/rotate/keyturn")
        body = {"parameters": {"credential": VAULT.name}}
        run = loud.prefect("POST", f"/deployments/{deployment['id']}/create_flow_run", body)["id"]
        deadline = time.monotonic() + 180
        while True:
            state: dict[str, Any] = loud.prefect("GET", f"/flow_runs/{run}")["state"]
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED"):
                return Ran(state["type"] != "COMPLETED", state["message"] or "")
            assert time.monotonic() < deadline, state["type"]
            time.sleep(0.5)
    finally:
        loud.processes.stop("worker")
