"""A container engine on a unix socket or on loopback: the part of Docker's API that a roll needs.

    python -m keyturn.testing.docker_double --socket /PATH --folder FOLDER       containers are processes of this machine

Any client of Docker's may be pointed at it: its own program and the PyPI package `docker` are, in the tests. What it does
was asked of an engine 20.10.24 (API 1.41), statuses, times and forms; what it does not know it refuses with 400 or 404.
There are no images (a name stands for one as soon as it is told, or where a container is made from it), no volumes and no
networks but by name; every container that runs has an address of its own in 127.0.0.0/8.

`calls`: every call, "METHOD /path" without the version. `serial`: as Podman, which restarts a container once for each that
asks, one after the other; Docker lets who asks meanwhile join.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import io
import itertools
import json
import secrets
import tarfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keyturn.testing.docker_containers import DoubleContainer
from keyturn.testing.docker_ports import Ports, TakenError
from keyturn.testing.docker_programs import Process, Program

API = "1.41"
_BRIDGES = ("bridge", "host", "none")
_RESTARTED_AFTER = 0.1  # seconds
_TURNS_BETWEEN = 30  # of the event loop


class Answer(NamedTuple):
    """Of one request."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


_EMPTY, _DONE, _DONE_BEFORE = Answer(200), Answer(204), Answer(304)


class RefusedError(Exception):
    """A call that the engine does not do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class DockerDouble:
    """An ASGI application. `program` makes what runs in a container, from its command."""

    def __init__(
        self,
        program: Callable[[list[str]], Program],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ports: Ports | None = None,
        serial: bool = False,
    ) -> None:
        self.containers: dict[str, DoubleContainer] = {}
        self.removed: list[DoubleContainer] = []
        self.images: dict[str, str] = {}
        self.networks: set[str] = set(_BRIDGES)
        self.calls: list[str] = []
        self.refuses: dict[str, int] = {}  # "METHOD /path" as in `calls`, without the id -> status
        self._program, self._now, self._serial = program, now, serial
        self.ports = ports or Ports()
        self._busy: dict[str, asyncio.Lock] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._addresses = 0
        # Its own: doubles of other processes have containers that listen on the same port.
        self._block = f"{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}"
        self._tasks: set[asyncio.Task[None]] = set()

    # Containers ----------------------------------------------------------------------------------------------------------

    def named(self, name: str) -> DoubleContainer:
        """By its name, its id, or the beginning of that."""
        for each in self.containers.values():
            if name in (each.name, each.id) or (len(name) >= 12 and each.id.startswith(name)):
                return each
        raise RefusedError(404, f"No such container: {name}")

    @property
    def starts(self) -> int:
        """How often a program was started, in all containers that ever were."""
        return sum(len(each.starts) for each in [*self.containers.values(), *self.removed])

    def create(self, name: str, body: dict[str, Any]) -> DoubleContainer:
        """`POST /containers/create`."""
        if any(each.name == name for each in self.containers.values()):
            raise RefusedError(409, f'Conflict. The container name "/{name}" is already in use.')
        config = {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")}
        host = {
            "NetworkMode": "default",
            "AutoRemove": False,
            "PortBindings": {},
            "Binds": None,
            **(body.get("HostConfig") or {}),
        }
        networks = dict((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
        mode = host["NetworkMode"] = host["NetworkMode"] or "default"
        if len(networks) > 1:
            raise RefusedError(400, "Container cannot be connected to network endpoints: " + ", ".join(networks))
        if mode not in ("host", "none") and not mode.startswith("container:"):
            networks.setdefault("bridge" if mode == "default" else mode, {})
        command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        container = DoubleContainer(
            name, config, host, networks, self._image(config.get("Image", "")), self._program(command), self._now()
        )
        config.setdefault("Hostname", container.id[:12])
        self.containers[container.id] = container
        return container

    async def start(self, container: DoubleContainer) -> bool:
        """False: it runs already; also for who asks while it is started."""
        async with self._starting.setdefault(container.id, asyncio.Lock()):
            return await self._start(container)

    async def _start(self, container: DoubleContainer) -> bool:
        if container.status in ("running", "paused"):
            return False
        for network in container.networks:
            if network not in self.networks:
                raise RefusedError(404, f"network {network} not found")
        self._addresses += 1
        address = f"127.{self._block}.{self._addresses % 250 + 1}"
        try:
            ports = await self.ports.take(container, address)
        except TakenError as error:
            raise RefusedError(500, f"driver failed programming external connectivity: {error}") from None
        container.address, container.ports = address, ports
        container.started(self._now())
        try:
            await container.program.start(container.environment, address, lambda code: self._ended(container, code))
        except OSError as error:
            self._ended(container, 127)
            raise RefusedError(400, f"OCI runtime create failed: {type(error).__name__}") from None
        return True

    async def stop(self, container: DoubleContainer, seconds: float) -> bool:
        """False: it does not run."""
        if container.status not in ("running", "restarting"):
            return False
        container.told_to_stop = True
        if container.status == "restarting":
            container.status = "exited"
            return True
        await container.program.stop(seconds)
        return True

    async def restart(self, container: DoubleContainer, seconds: float) -> None:
        """Who asks while it ends waits for the same end, and its start is the one that was asked for first."""
        if not self._serial:
            await self._stop_and_start(container, seconds)
            return
        async with self._busy.setdefault(container.id, asyncio.Lock()):
            await self._stop_and_start(container, seconds)

    async def _stop_and_start(self, container: DoubleContainer, seconds: float) -> None:
        await self.stop(container, seconds)
        for _ in range(_TURNS_BETWEEN):
            await asyncio.sleep(0)  # it is seen as exited, as it is at an engine under load
        await self.start(container)

    async def remove(self, container: DoubleContainer, *, force: bool) -> None:
        if container.status in ("running", "restarting", "paused") and not force:
            raise RefusedError(409, "You cannot remove a running container. Stop the container before attempting removal")
        container.told_to_stop = True
        await container.program.forget()
        self.removed.append(self.containers.pop(container.id))

    def rename(self, container: DoubleContainer, name: str) -> None:
        if container.name == name:
            raise RefusedError(400, "Renaming a container with the same name as its current name")
        if any(each.name == name for each in self.containers.values()):
            raise RefusedError(409, f'Conflict. The container name "/{name}" is already in use.')
        container.name = name

    def connect(self, network: str, container: DoubleContainer, endpoint: dict[str, Any]) -> None:
        """Whether there is such a network is not asked before the container is started."""
        if container.runs and network not in self.networks:
            raise RefusedError(404, f"network {network} not found")
        container.networks[network] = endpoint

    async def aclose(self) -> None:
        """End every program."""
        for container in list(self.containers.values()):
            container.told_to_stop = True
            await container.program.forget()
        self.ports.close()

    def _ended(self, container: DoubleContainer, code: int) -> None:
        self.ports.give_back(container)
        container.ended(code, self._now())
        policy = (container.host_config.get("RestartPolicy") or {}).get("Name")
        if not container.told_to_stop and (policy in ("always", "unless-stopped") or (policy == "on-failure" and code)):
            container.status = "restarting"
            task = asyncio.create_task(self._start_again(container))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start_again(self, container: DoubleContainer) -> None:
        await asyncio.sleep(_RESTARTED_AFTER)
        if container.status == "restarting":
            container.restarts += 1
            await self.start(container)

    def _image(self, name: str) -> str:
        if name.startswith("sha256:"):
            return name
        return self.images.setdefault(name, "sha256:" + hashlib.sha256(name.encode()).hexdigest())

    # HTTP ----------------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        query = dict(request.query_params)
        answer = await self.handle(request.method, request.url.path, query, await request.body())
        await Response(answer.body, answer.status, dict(answer.headers))(scope, receive, send)

    async def handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """One request, in this process."""
        try:
            answer = await self._answer(method, [each for each in path.split("/") if each], query, body)
        except RefusedError as error:
            answer = _json({"message": error.message}, error.status)
        return Answer(
            answer.status, {"Api-Version": API, "Server": "Docker/20.10.24 (double)", **answer.headers}, answer.body
        )

    async def _answer(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        if path and path[0].startswith("v") and path[0][1:2].isdigit():
            if tuple(map(int, path[0][1:].split("."))) > tuple(map(int, API.split("."))):
                raise RefusedError(400, f"client version {path[0][1:]} is too new. Maximum supported API version is {API}")
            path = path[1:]
        verb = f"{method} /" + "/".join(path)
        self.calls.append(verb)
        for pattern, status in self.refuses.items():
            if method == pattern.partition(" ")[0] and verb.endswith(pattern.partition(" ")[2]):
                raise RefusedError(status, "refused on purpose")
        match method, path:
            case "GET" | "HEAD", ["_ping"]:
                return Answer(200, {"Content-Type": "text/plain"}, b"OK")
            case "GET", ["version"]:
                return _json(
                    {"Version": "20.10.24", "ApiVersion": API, "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"}
                )
            case "GET", ["containers", "json"]:
                return _json(self._list(query))
            case "POST", ["containers", "create"]:
                made = self.create(query.get("name") or "unnamed", json.loads(body))
                return _json({"Id": made.id, "Warnings": []}, 201)
            case "GET", ["images", *name, "json"] if name:
                return _json(self._inspected_image("/".join(name)))
            case "POST", ["networks", "create"]:
                self.networks.add(json.loads(body)["Name"])
                return _json({"Id": self.network_id(json.loads(body)["Name"]), "Warning": ""}, 201)
            case "GET", ["networks", name]:
                return _json(self._network(name))
            case "POST", ["networks", name, "connect"]:
                asked = json.loads(body)
                self.connect(self._named(name), self.named(asked["Container"]), asked.get("EndpointConfig") or {})
                return _EMPTY
            case _, ["containers", name, *what]:
                return await self._of_container(method, self.named(name), what, query, body)
        raise RefusedError(404, "page not found")

    async def _of_container(
        self, method: str, one: DoubleContainer, what: list[str], query: dict[str, str], body: bytes
    ) -> Answer:
        seconds = float(query.get("t") or one.config.get("StopTimeout") or 10)
        match method, what:
            case "GET", ["json"]:
                return _json(one.inspected(self.network_id))
            case "POST", ["start"]:
                return _DONE if await self.start(one) else _DONE_BEFORE
            case "POST", ["stop"]:
                return _DONE if await self.stop(one, seconds) else _DONE_BEFORE
            case "POST", ["restart"]:
                await self.restart(one, seconds)
                return _DONE
            case "POST", ["rename"]:
                self.rename(one, query["name"])
                return _DONE
            case "DELETE", []:
                await self.remove(one, force=query.get("force") in ("1", "true", "True"))
                return _DONE
            case "GET" | "HEAD", ["archive"]:
                return _packed(one, query["path"])
            case "PUT", ["archive"]:
                if not one.program.has(query["path"]):
                    raise RefusedError(404, f"Could not find the file {query['path']} in container {one.id}")
                with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                    for member in tar:
                        content = tar.extractfile(member)
                        if content is not None:
                            one.program.write(query["path"], member.name, content.read())
                return _EMPTY
        raise RefusedError(404, "page not found")

    def _list(self, query: dict[str, str]) -> list[dict[str, Any]]:
        filters = json.loads(query.get("filters") or "{}")
        if filters.keys() - {"label", "id", "name"}:
            raise RefusedError(400, "a filter that the double does not know")
        wanted = [each.partition("=") for each in filters.get("label") or ()]  # a list, or a mapping to true
        found = []
        for one in self.containers.values():
            if not one.runs and query.get("all") not in ("1", "true", "True"):
                continue
            if not all(name in one.labels and (not equals or one.labels[name] == value) for name, equals, value in wanted):
                continue
            if any(not one.id.startswith(each) for each in filters.get("id") or ()):
                continue
            if any(each.strip("^/$") not in one.name for each in filters.get("name") or ()):
                continue
            found.append(one.listed(self.network_id))
        return found

    def _inspected_image(self, name: str) -> dict[str, Any]:
        found = self.images.get(name) or (name if name in self.images.values() else None)
        if found is None:
            raise RefusedError(404, f"No such image: {name}")
        return {"Id": found, "RepoTags": [each for each, image in self.images.items() if image == found], "Config": {}}

    def _named(self, network: str) -> str:
        return next((each for each in self.networks if self.network_id(each) == network), network)

    def _network(self, name: str) -> dict[str, Any]:
        for each in self.networks:
            if each == self._named(name):
                return {"Name": each, "Id": self.network_id(each), "Driver": "bridge", "Scope": "local", "Containers": {}}
        raise RefusedError(404, f"network {name} not found")

    @staticmethod
    def network_id(name: str) -> str:
        return hashlib.sha256(b"network " + name.encode()).hexdigest()


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _packed(one: DoubleContainer, path: str) -> Answer:
    found = one.program.read(path)
    if found is None:
        raise RefusedError(404, f"Could not find the file {path} in container {one.id}")
    content, changed = found
    name = path.rpartition("/")[2]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime = len(content), int(changed.timestamp())
        tar.addfile(entry, io.BytesIO(content))
    told = {"name": name, "size": len(content), "mode": 384, "mtime": f"{changed:%Y-%m-%dT%H:%M:%S.%f}Z", "linkTarget": ""}
    header = base64.b64encode(json.dumps(told).encode()).decode()
    return Answer(200, {"X-Docker-Container-Path-Stat": header, "Content-Type": "application/x-tar"}, packed.getvalue())


def engine_of_processes(folder: Path, ports: Ports | None = None) -> DockerDouble:
    """Each container's files are in a folder of its own, in which there is `run`."""
    count = itertools.count(1)

    def program(command: list[str]) -> Process:
        root = folder / str(next(count))
        (root / "run" / "keyturn").mkdir(parents=True)
        return Process(command, root)

    return DockerDouble(program, ports=ports)


def main() -> None:
    parser = argparse.ArgumentParser(prog="docker_double", description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    engine = engine_of_processes(arguments.folder, Ports(forwards=True))

    async def serve() -> None:
        config = uvicorn.Config(engine, uds=arguments.socket, lifespan="off", ws="none", log_level="warning")
        try:
            await uvicorn.Server(config).serve()
        finally:
            await engine.aclose()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
