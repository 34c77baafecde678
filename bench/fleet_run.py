"""`python -m bench.fleet_run SHAPE COUNT`: one flow in a process of its own. Prints seconds and peak memory as JSON.

Prefect's server is that of $PREFECT_API_URL. SHAPE: `empty`, or where the keys are, `memory` or `openbao`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import memory_parts
from keyturn.commands import flows
from keyturn.config import PATH_VARIABLE
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes

STEPS = 9  # tasks of a rotation with an overlap: observe to prove


def empty_flow() -> Any:
    """The shape of `rotate_many`, and nothing in it. It was the fastest that Prefect 3.8.8 has with a row for each
    credential: with threads it took twice as long, with a subflow for each thirty times."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(persist_result=False, cache_policy=NO_CACHE)
    async def step() -> None:
        pass

    @task(persist_result=False, cache_policy=NO_CACHE)
    async def one() -> None:
        for _ in range(STEPS):
            await step()

    @flow(name="empty", persist_result=False)
    async def empty(count: int) -> None:
        places = asyncio.Semaphore(16)

        async def in_its_place() -> None:
            async with places:
                await one()

        await asyncio.gather(*(in_its_place() for _ in range(count)))

    return empty


def main(shape: str, count: int) -> None:
    flows.load("flows.outcome", "Result")  # as a command sets Prefect up
    if shape == "empty":
        told = _timed(empty_flow(), count=count)
    else:
        with tempfile.TemporaryDirectory() as folder, memory_parts.known():
            told = (_in_memory if shape == "memory" else _in_openbao)(Path(folder), count)
    print(json.dumps(told))


def _in_memory(folder: Path, count: int) -> dict[str, float]:
    return _rotated(folder, count, {"kind": "memory"}, memory_parts.fill_memory)


def _in_openbao(folder: Path, count: int) -> dict[str, float]:
    processes = Processes(folder)
    try:
        server = OpenBao(processes, folder)
        server.enable_kv("secret")
        os.environ["KEYTURN_BENCH_TOKEN"] = server.root.token
        kv = server.root.secrets.kv.v2
        store = {
            "kind": "vault_kv2",
            "address": server.address,
            "auth": {"method": "token", "token": "env:KEYTURN_BENCH_TOKEN"},
        }
        return _rotated(
            folder,
            count,
            store,
            lambda name, key: kv.create_or_update_secret(name, {"OTHER": "x", memory_parts.FIELD: key.reveal()}),
        )
    finally:
        processes.stop()


def _rotated(folder: Path, count: int, store: dict[str, Any], fill: Callable[..., None]) -> dict[str, float]:
    path = folder / "keyturn.yaml"
    memory_parts.write_config(path, count, store, fill)
    os.environ[PATH_VARIABLE] = str(path)
    return _timed(flows.load("flows.rotate_many", "rotate_many"), every=True)


def _timed(flow: Any, **parameters: Any) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    if path := os.environ.get("KEYTURN_BENCH_PROFILE"):
        import cProfile

        with cProfile.Profile() as profile:
            flows.run(flow, **parameters)
        profile.dump_stats(path)
    else:
        flows.run(flow, **parameters)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
