"""The double of a container engine on loopback, served from a thread of this process: containers are processes.

with DockerServer(folder) as server:
    docker.DockerClient(server.url)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import uvicorn

from keyturn.testing.docker_double import engine_of_processes
from keyturn.testing.processes import free_port


class DockerServer:
    """A context manager: inside it `url` is an engine's. In the end every container's program is killed.

    `folder`: one for each container's files, in which there are `run` and what its program prints, `log`.
    """

    def __init__(self, folder: Path) -> None:
        self.engine = engine_of_processes(folder)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(self.engine, port=port, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="container engine", daemon=True)

    def __enter__(self) -> DockerServer:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()

    def addresses(self, labels: Mapping[str, str]) -> list[str]:
        """Of every container with these labels that runs, whatever it says of itself: as the engine's own DNS tells them."""
        found = list(self.engine.containers.values())
        return [each.address for each in found if each.runs and each.address and labels.items() <= each.labels.items()]

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve())
        while not (self._server.started or serving.done()):  # noqa: ASYNC110  # another task's state
            await asyncio.sleep(0.01)
        self._begun.set()
        try:
            await serving
        finally:
            await self.engine.aclose()
