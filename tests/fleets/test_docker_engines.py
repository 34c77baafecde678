"""Containers that are real programs, rolled at an engine: the double, with processes of this machine, and one of yours.

    KEYTURN_LIVE_DOCKER=unix:/var/run/docker.sock .venv/bin/pytest tests/fleets/test_docker_engines.py

Without the variable no real engine is tried. KEYTURN_LIVE_DOCKER_IMAGE names an image with python3 that is there already
(else `python:3.11-slim`). Containers and the network that the suite makes bear the label `keyturn-suite`, and are removed.
Run where the engine's networks are reached: on its machine.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import tarfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn

from keyturn.delivery.keys import Variable
from keyturn.errors import RollFailedError
from keyturn.fleets.docker import DockerFleet
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Member, VersionRef
from keyturn.testing.docker_double import engine_of_processes
from keyturn.testing.docker_ports import Ports
from keyturn.testing.processes import free_port

ADDRESS = os.environ.get("KEYTURN_LIVE_DOCKER", "")
IMAGE = os.environ.get("KEYTURN_LIVE_DOCKER_IMAGE", "python:3.11-slim")
PROGRAM = Path(__file__).with_name("contained_member.py").read_text()
KEY = "openai-prod"
STATE = "/run/state.json"

pytestmark = pytest.mark.real


class Engine:
    """An engine, and what a person would do with it. `words`: what the program is told of where it is."""

    def __init__(self, address: str, words: tuple[str, str]) -> None:
        self.address, self.words = address, words
        self.mark = secrets.token_hex(4)
        self.network = f"keyturn-suite-{self.mark}"
        socket = address.removeprefix("unix:") if address.startswith("unix:") else None
        base = "http://engine" if socket else address
        transport = httpx.AsyncHTTPTransport(uds=socket)
        self.http = httpx.AsyncClient(transport=transport, base_url=base, timeout=120)
        self.current = self.turn()

    def turn(self, text: str = "") -> HeldKey:
        material = KeyMaterial(text or "sk-" + secrets.token_hex(24))
        self.current = HeldKey(VersionRef("v", material.fingerprint()), material)
        return self.current

    async def call(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.http.request(method, f"/v1.41{path}", **more)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return answer.json() if answer.content and answer.headers["content-type"].startswith("application/json") else None

    async def member(self, number: int, *, store: bool, port: int = 0) -> None:
        ports = {"4000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port) if port else ""}]}
        body = {
            "Image": IMAGE,
            "Cmd": ["python3", "-S", "-c", PROGRAM, *self.words],
            "Env": [f"OPENAI_API_KEY={self.current.material.reveal()}", "OTHER=x=y"],
            "Labels": {"keyturn-suite": self.mark},
            "ExposedPorts": {"4000/tcp": {}},
            "StopTimeout": 30,
            "HostConfig": {"NetworkMode": self.network, "PortBindings": ports, "RestartPolicy": {"Name": "unless-stopped"}},
            "NetworkingConfig": {"EndpointsConfig": {self.network: {"Aliases": ["proxy"]}}},
        }
        name = f"suite-{self.mark}-{number}"
        await self.call("POST", "/containers/create", params={"name": name}, json=body)
        await self.call("POST", f"/networks/{self.network}-2/connect", json={"Container": name, "EndpointConfig": {}})
        if store:
            await self.tell_store(number)
        await self.call("POST", f"/containers/{name}/start")

    async def tell_store(self, number: int) -> None:
        """What its program reads when it starts."""
        packed, content = io.BytesIO(), self.current.material.reveal().encode()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo("store")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        path = f"/containers/suite-{self.mark}-{number}/archive"
        await self.call("PUT", path, params={"path": "/run"}, content=packed.getvalue())

    async def ours(self) -> list[dict[str, Any]]:
        filters = '{"label": ["keyturn-suite=' + self.mark + '"]}'
        found: list[dict[str, Any]] = await self.call("GET", "/containers/json", params={"all": "1", "filters": filters})
        return found

    def fleet(self, roll: str, **more: Any) -> DockerFleet:
        async def resolve(reference: str) -> KeyMaterial:
            raise AssertionError(reference)

        async def read() -> HeldKey:
            return self.current

        settings = {
            "engine": self.address,
            "labels": [f"keyturn-suite={self.mark}"],
            "network": self.network,
            "roll": roll,
            "state": STATE if roll == "restart" else None,
            "master_key": "env:MASTER",
            "poll_interval": timedelta(seconds=0.1),
            "stop_timeout": "30s",
            "roll_timeout": "60s",
            **more,
        }
        return DockerFleet(
            DockerFleet.Settings.model_validate(settings),
            resolve,
            lambda credential: Variable(credential, "OPENAI_API_KEY", read),
        )

    async def aclose(self) -> None:
        for each in await self.ours():
            await self.call("DELETE", f"/containers/{each['Id']}", params={"force": "1"})
        for name in (self.network, f"{self.network}-2") if self.address == ADDRESS else ():
            await self.call("DELETE", f"/networks/{name}")
        await self.http.aclose()


async def _at(address: str, words: tuple[str, str]) -> AsyncIterator[Engine]:
    engine = Engine(address, words)
    await engine.call("POST", "/networks/create", json={"Name": engine.network})
    await engine.call("POST", "/networks/create", json={"Name": f"{engine.network}-2"})
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest_asyncio.fixture(params=["double", "yours"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    if request.param == "yours":
        if not ADDRESS:
            pytest.skip("KEYTURN_LIVE_DOCKER names no engine: nothing was rolled at a real one")
        async for each in _at(ADDRESS, ("0.0.0.0", "")):  # in the container
            yield each
        return
    double = engine_of_processes(tmp_path, Ports(forwards=True))
    socket = tmp_path / "engine.sock"
    server = uvicorn.Server(
        uvicorn.Config(double, uds=str(socket), lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # another task's state
        await asyncio.sleep(0.01)
    try:
        async for each in _at(f"unix:{socket}", ("{address}", "{root}")):
            yield each
    finally:
        await double.aclose()
        server.should_exit = True
        await serving


async def up(fleet: DockerFleet, version: VersionRef) -> list[Member]:
    """The members, once each serves this version."""
    async with asyncio.timeout(60):
        while True:
            members = list(await fleet.members())
            if members and all([await fleet.serving(each, KEY) == version for each in members]):
                return members
            await asyncio.sleep(0.05)


async def test_a_fleet_is_rolled_by_restarts(engine: Engine) -> None:
    for number in (1, 2):
        await engine.member(number, store=True)
    fleet = engine.fleet("restart")
    members = await up(fleet, engine.current.version)
    assert [each for each in await fleet.preflight(KEY) if each.ok is False] == []
    before = {each["Id"] for each in await engine.ours()}
    new = engine.turn()
    for number, member in enumerate(members, 1):
        await engine.tell_store(number)
        assert await fleet.serving(member, KEY) != new.version
        await asyncio.gather(*(each.roll(member, KEY, new.version) for each in (fleet, engine.fleet("restart"))))
        assert await fleet.serving(member, KEY) == new.version
        found = await engine.call("GET", f"/containers/{member.name}/json")
        await fleet.roll(member, KEY, new.version)
        assert (await engine.call("GET", f"/containers/{member.name}/json"))["State"] == found["State"], "not once more"
    assert {each["Id"] for each in await engine.ours()} == before
    await fleet.aclose()


@pytest.mark.parametrize("port", [0, free_port()], ids=["side by side", "stop first"])
async def test_a_fleet_is_rolled_by_successors(engine: Engine, port: int) -> None:
    await engine.member(1, store=False, port=port)
    fleet = engine.fleet("recreate")
    (member,) = await up(fleet, engine.current.version)
    before = await engine.call("GET", f"/containers/{member.name}/json")
    new = engine.turn()
    await asyncio.gather(*(each.roll(member, KEY, new.version) for each in (fleet, engine.fleet("recreate"))))
    (member,) = await up(fleet, new.version)
    after = await engine.call("GET", f"/containers/{member.name}/json")
    assert len(await engine.ours()) == 1
    assert after["Id"] != before["Id"]
    assert sorted(after["Config"]["Env"]) == sorted(
        each if "OPENAI" not in each else f"OPENAI_API_KEY={new.material.reveal()}" for each in before["Config"]["Env"]
    )
    assert after["HostConfig"] == before["HostConfig"]
    assert after["Image"] == before["Image"]
    assert set(after["NetworkSettings"]["Networks"]) == {engine.network, f"{engine.network}-2"}
    for each in (after, before):
        assert "proxy" in each["NetworkSettings"]["Networks"][engine.network]["Aliases"]
    kept = {name: each for name, each in after["Config"].items() if name not in ("Env", "Labels", "Hostname")}
    assert kept == {name: each for name, each in before["Config"].items() if name not in ("Env", "Labels", "Hostname")}

    # A key with which it does not come up.
    engine.turn("refused" + secrets.token_hex(8))
    with pytest.raises(RollFailedError, match="The old container serves"):
        await engine.fleet("recreate", stop_timeout="5s", roll_timeout="6s").roll(member, KEY, engine.current.version)
    await up(fleet, new.version)
    assert [each["Id"] for each in await engine.ours()] == [after["Id"]]
    await fleet.aclose()


async def test_what_the_double_answers_is_what_an_engine_answers(engine: Engine) -> None:
    """Statuses that a roll relies on, and what is kept of a run that is over."""
    await engine.member(1, store=True, port=(port := free_port()))
    name, other = f"suite-{engine.mark}-1", f"suite-{engine.mark}-2"

    async def status(method: str, path: str, **more: Any) -> int:
        return (await engine.http.request(method, f"/v1.41{path}", **more)).status_code

    async def state() -> dict[str, Any]:
        found: dict[str, Any] = (await engine.call("GET", f"/containers/{name}/json"))["State"]
        return found

    body = {
        "Image": IMAGE,
        "Cmd": ["python3", "-S", "-c", PROGRAM, *engine.words],
        "Labels": {"keyturn-suite": engine.mark},
        "ExposedPorts": {"4000/tcp": {}},
        "HostConfig": {
            "NetworkMode": engine.network,
            "PortBindings": {"4000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
        },
    }
    first = await state()
    assert (first["FinishedAt"], first["Running"]) == ("0001-01-01T00:00:00Z", True)
    assert await status("POST", f"/containers/{name}/start") == 304
    assert await status("POST", "/containers/create", params={"name": name}, json=body) == 409
    assert await status("POST", "/containers/create", params={"name": other}, json=body) == 201
    assert await status("POST", f"/containers/{other}/start") == 500, "its port is taken"
    refused = (await engine.call("GET", f"/containers/{other}/json"))["State"]
    assert (refused["Running"], refused["StartedAt"]) == (False, "0001-01-01T00:00:00Z")
    assert await status("POST", f"/containers/{other}/rename", params={"name": name}) == 409
    assert await status("POST", f"/containers/{name}/rename", params={"name": name}) == 400
    assert await status("DELETE", f"/containers/{name}") == 409, "it runs"
    assert await status("DELETE", f"/containers/{other}") == 204
    assert await status("DELETE", f"/containers/{other}") == 404
    assert await status("POST", f"/containers/{name}/restart", params={"t": "30"}) == 204
    second = await state()
    assert first["StartedAt"] < second["FinishedAt"] < second["StartedAt"]
    assert second["Running"] is True
    assert await status("POST", f"/containers/{name}/stop", params={"t": "30"}) == 204
    assert await status("POST", f"/containers/{name}/stop", params={"t": "30"}) == 304
    assert (await state())["StartedAt"] == second["StartedAt"]
    assert await status("GET", f"/containers/{name}/archive", params={"path": "/run/nothing"}) == 404
    assert await status("PUT", f"/containers/{name}/archive", params={"path": "/run/nowhere"}, content=b"\0" * 1024) == 404
    assert await status("GET", "/images/keyturn-suite-nothing:1/json") == 404
    assert await status("POST", "/networks/keyturn-suite-nothing/connect", json={"Container": name}) == 200, "it is stopped"
    assert await status("POST", f"/containers/{name}/start") == 404, "that network is not there"
    assert (await engine.http.get("/v1.99/version")).status_code == 400
