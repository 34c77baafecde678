"""The double of a container engine is held to the truth by clients that know nothing of it: Docker's SDK for Python, and
Docker's own program where there is one. A real engine is asked the same by tests/fleets/test_docker_engines.py."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn

from keyturn.testing.docker_double import API, DockerDouble, engine_of_processes
from tests.providers.sdk import run

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[DockerDouble, str]]:
    """The double, and its address."""
    double = engine_of_processes(tmp_path / "containers")
    socket = tmp_path / "engine.sock"
    config = uvicorn.Config(double, uds=str(socket), lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # another task's state
        await asyncio.sleep(0.01)
    try:
        yield double, f"unix://{socket}"
    finally:
        await double.aclose()
        server.should_exit = True
        await serving


async def test_dockers_sdk_does_what_a_roll_does(served: tuple[DockerDouble, str]) -> None:
    double, address = served
    assert await run("docker_engine", ENGINE=address) == {
        "version": API,
        "running": "running",
        "networks": ["back", "front"],
        "aliases": True,
        "environment": ["OPENAI_API_KEY=one", "OTHER=x"],
        "read": "written",
        "told": "note",
        "nothing": True,
        "restarted": True,
        "refused": 409,
        "taken": 409,
        "listed": ["member", "other"],
        "up": ["member"],
        "image": True,
        "left": ["member"],
    }
    assert double.starts == 2


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no `docker` here: its own program was not tried")
async def test_dockers_own_program_does_too(served: tuple[DockerDouble, str]) -> None:
    double, address = served

    async def docker(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "docker", "-H", address, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        told, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()
        return told.decode().strip()

    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    await docker("network", "create", "front")
    await docker(
        "create", "--name", "m", "--network", "front", "--network-alias", "proxy", "-e", "K=v", "-l", "a=b", "i:1", *sleep
    )
    await docker("start", "m")
    await docker("restart", "-t", "5", "m")
    (told,) = json.loads(await docker("inspect", "m"))
    assert (told["State"]["Running"], told["Config"]["Env"]) == (True, ["K=v"])
    assert await docker("ps", "--filter", "label=a=b", "--format", "{{.Names}}") == "m"
    await docker("stop", "-t", "5", "m")
    await docker("rename", "m", "n")
    assert await docker("ps", "-a", "--format", "{{.Names}} {{.State}}") == "n exited"
    await docker("rm", "n")
    assert double.containers == {}
