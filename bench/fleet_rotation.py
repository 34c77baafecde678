"""Many credentials rotated by one command, beside an empty flow of the same shape and number of tasks, in the same run.

Prefect's server is a program of its own, on PostgreSQL as for every fleet: on SQLite whatever else is written waits seconds
while its server writes tasks down. Its events go through Redis: a server that has them in its memory drops
what is more than ten thousand behind, and of an empty flow of 1,000 credentials 195 tasks stayed unfinished. Each flow is a
process of its own, and begins when the server has stored all of the one before. Drain: from the flow's end until every task
is COMPLETED in Prefect's API, but those that it has lost: with Redis too it was one of 20,000, once.

KEYTURN_BENCH_FLEET: how many credentials, such as `10,20`, for a short try. KEYTURN_BENCH_DATABASE: `sqlite`, to see that.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.fleet_run import STEPS
from keyturn.testing.postgres import Postgres
from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.programs import REPLICATED, installed, prefect_server
from keyturn.testing.redis import start_redis

COUNTS = "100,1000"
FEW = 200  # up to so many are measured five times, one after another in turn
READY_SECONDS = 240
LOST_SECONDS = 45  # without a task stored: Prefect's server has lost what is missing
MAY_BE_LOST = 0.01  # of the tasks; more, and its figures are of another amount of work
SHAPES = ("empty", "memory", "openbao")
FIRST = "memory, the first time"  # ever: a slot is made at Prefect for each credential and fleet, and stays
TOLD = (*SHAPES, FIRST)


def measure() -> Mapping[str, Any]:
    counts = [int(each) for each in os.environ.get("KEYTURN_BENCH_FLEET", COUNTS).split(",")]
    with tempfile.TemporaryDirectory() as folder, _prefect(Path(folder)) as environ:
        _run("empty", 2, environ)  # the first flow pays for what the server has never done
        figures = {str(count): _of(count, environ) for count in counts}
    ratio = {count: round(each["memory"]["seconds"] / each["empty"]["seconds"], 2) for count, each in figures.items()}

    def named(what: str) -> dict[str, dict[str, float]]:
        return {count: {shape: round(each[shape][what], 1) for shape in TOLD} for count, each in figures.items()}

    return {
        "fleet_ratio": ratio,
        "fleet_seconds": named("seconds"),
        "fleet_peak_mb": named("peak_mb"),
        "fleet_drain_seconds": named("drain"),
        "fleet_tasks_lost": named("lost"),
    }


def page(results: Mapping[str, Any]) -> str:
    if "fleet_ratio" not in results:
        return ""
    rows = [
        f"| {count} | {shape} | {results['fleet_seconds'][count][shape]} | {results['fleet_peak_mb'][count][shape]} "
        f"| {results['fleet_drain_seconds'][count][shape]} | {results['fleet_tasks_lost'][count][shape]:.0f} |"
        for count in sorted(results["fleet_ratio"], key=int)
        for shape in TOLD
    ]
    ratios = ", ".join(f"{ratio} for {count}" for count, ratio in sorted(results["fleet_ratio"].items(), key=_count))
    return (
        "## Many credentials at once\n\n| credentials | flow | seconds | peak memory, MB | drain, seconds | tasks lost |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"`keyturn rotate --all`, in memory and with real OpenBao, and an empty flow with as many tasks: one for each "
        f"credential with {STEPS} nested in it. In memory the rotation takes so many times what the empty flow takes: "
        f"{ratios}. Drain is what Prefect's server still stores after the flow has ended; lost is what it never shows as "
        "ended, of the empty flow's tasks too.\n"
    )


def _count(item: tuple[str, float]) -> int:
    return int(item[0])


def _of(count: int, environ: Mapping[str, str]) -> dict[str, dict[str, float]]:
    first = _run("memory", count, environ)
    tries = [{shape: _run(shape, count, environ) for shape in SHAPES} for _ in range(5 if count <= FEW else 1)]
    return {FIRST: first} | {shape: _median([each[shape] for each in tries]) for shape in SHAPES}


def _median(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in ("seconds", "peak_mb", "drain", "lost", "cpu")}


def _run(shape: str, count: int, environ: Mapping[str, str]) -> dict[str, float]:
    before = _completed(environ)
    command = [sys.executable, "-m", "bench.fleet_run", shape, str(count)]
    done = subprocess.run(command, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True, check=True)
    ended = time.monotonic()
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    tasks = count * (STEPS + 1)
    stored, since = 0, ended
    while stored < tasks and time.monotonic() - since < LOST_SECONDS:
        time.sleep(0.5)
        if (now := _completed(environ) - before) > stored:
            stored, since = now, time.monotonic()
    told["drain"], told["lost"] = since - ended, tasks - stored
    load = os.getloadavg()[0]
    print(
        f"{shape} {count}: {json.dumps({key: round(value, 2) for key, value in told.items()})} load {load:.1f}",
        file=sys.stderr,
    )
    if stored > tasks or told["lost"] > tasks * MAY_BE_LOST:
        raise RuntimeError(f"{shape}: {stored} tasks, where the empty flow has {tasks}")
    return told


def _completed(environ: Mapping[str, str]) -> int:
    body = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    while True:
        answer = httpx.post(f"{environ['PREFECT_API_URL']}/task_runs/count", json=body, timeout=60, trust_env=False)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # SQLite's "database is locked"
            found: int = answer.raise_for_status().json()
            return found


@contextmanager
def _prefect(folder: Path) -> Iterator[dict[str, str]]:
    processes, port, postgres = Processes(folder), free_port(), None
    environ = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "KEYTURN_BENCH_MASTER_KEY": "bench",
        **REPLICATED,
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "true",
    }
    try:
        environ |= start_redis(processes, folder / "redis")
        if os.environ.get("KEYTURN_BENCH_DATABASE", "postgres") == "postgres":
            postgres = Postgres(processes)
            environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = postgres.url
        server = processes.start("prefect", installed(prefect_server("127.0.0.1", port)), env=environ)
        wait_for_http(f"http://127.0.0.1:{port}/api/health", seconds=READY_SECONDS, process=server)
        yield environ
    finally:
        processes.stop()
        if postgres is not None:
            postgres.remove()
