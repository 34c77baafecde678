"""A double of an engine in this process, with played containers, and workers that roll them and may die at every call."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import httpx

from keyturn.delivery.keys import Variable
from keyturn.delivery.variable_names import Names
from keyturn.fleets.docker import DockerFleet
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Member, VersionRef
from keyturn.testing.docker_containers import DoubleContainer
from keyturn.testing.docker_double import DockerDouble
from keyturn.testing.docker_programs import Played, Program

STATE = "/run/keyturn/state.json"
LABELS = {
    "com.docker.compose.project": "llm",
    "com.docker.compose.service": "proxy",
    "com.docker.compose.oneoff": "False",
    "com.docker.compose.container-number": "1",
}
MASTER = "LITELLM_MASTER_KEY"


class Died(BaseException):
    """The worker is gone: no `except` of the product sees it."""


class Death(Enum):
    """When a worker dies: before a call is sent, or while the engine does it, which goes on."""

    BEFORE = "before"
    DURING = "during"


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """The network of one worker: the engine, and the containers' own addresses."""

    scene: Scene
    dies_at: int = -1
    death: Death = Death.BEFORE
    calls: list[str] = field(default_factory=list)
    _dead: bool = False
    _left: set[asyncio.Task[Any]] = field(default_factory=set)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._dead:
            raise Died
        number = len(self.calls)
        self.calls.append(f"{request.method} {request.url.path}")
        if number != self.dies_at:
            return await self._carry(request)
        self._dead = True
        if self.death is Death.DURING:
            # The engine has it, and goes on with it while the next worker begins.
            task = asyncio.create_task(self._carry(request))
            self._left.add(task)
            for _ in range(3):
                await asyncio.sleep(0)
        raise Died

    async def _carry(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "engine":
            answer = await self.scene.engine.handle(
                request.method, request.url.path, dict(request.url.params), await request.aread()
            )
            for look in self.scene.watchers:
                look(request)
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)
        for container in self.scene.engine.containers.values():
            if container.runs and container.address == request.url.host:
                played = container.program
                assert isinstance(played, Played)
                return httpx.Response(200 if played.looked_at() else 503, request=request)
        raise httpx.ConnectError("refused", request=request)

    async def ended(self) -> None:
        """What was left behind is over."""
        await asyncio.gather(*self._left, return_exceptions=True)


class Scene:
    """Compose's service `proxy` of the project `llm`. `current`: what the store holds, and `keyturn exec` would read."""

    def __init__(self, *, roll: str, serial: bool = False, **settings: Any) -> None:
        self._time = itertools.count()
        self.seconds = 0.0
        self.store: dict[str, dict[str, str]] = {}
        self.roll, self.more = roll, settings
        self.programs: list[Played] = []
        self.play: Callable[[Played], None] = lambda played: None
        self.engine = DockerDouble(self._program, now=self._now, serial=serial)
        self.engine.networks |= {"llm_default", "front"}
        self.watchers: list[Callable[[httpx.Request], None]] = []
        self.current, self.other = self.turn(), self.turn_other()

    def _now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(self._time))

    def _program(self, command: list[str]) -> Program:
        played = Played(self._now, self.store if self.roll == "restart" else {}, STATE)
        self.play(played)
        self.programs.append(played)
        return played

    def turn(self) -> HeldKey:
        """Another value is CURRENT from now on."""
        self.current = self._new("openai-prod")
        return self.current

    def turn_other(self) -> HeldKey:
        """The same of another credential of these proxies."""
        self.other = self._new("other")
        return self.other

    def _new(self, credential: str) -> HeldKey:
        material = KeyMaterial("sk-" + secrets.token_hex(24))
        self.store[credential] = {"id": "v", "fingerprint": material.fingerprint()}
        return HeldKey(VersionRef("v", material.fingerprint()), material)

    async def start(self, count: int = 2, **body: Any) -> list[DoubleContainer]:
        """Members as Compose makes them, serving CURRENT."""
        found = []
        for number in range(1, count + 1):
            one = self.engine.create(f"llm-proxy-{number}", self.body(number, **body))
            for network in sorted(self.engine.networks - {"bridge", "host", "none", *one.networks}):
                if one.host_config["NetworkMode"] == "llm_default":
                    self.engine.connect(network, one, {"Aliases": [network]})
            await self.engine.start(one)
            found.append(one)
        return found

    def body(self, number: int = 1, **other: Any) -> dict[str, Any]:
        host = {"NetworkMode": "llm_default", "RestartPolicy": {"Name": "unless-stopped"}, **other.pop("HostConfig", {})}
        mode = host["NetworkMode"]
        return {
            "Image": "litellm:1",
            "Cmd": ["litellm", "--port", "4000"],
            "Env": [
                f"{MASTER}=sk-1",
                f"OPENAI_API_KEY={self.current.material.reveal()}",
                "EMPTY=",
                f"OTHER_KEY={self.other.material.reveal()}",
            ],
            "Labels": {**LABELS, "com.docker.compose.container-number": str(number)},
            "Healthcheck": {"Test": ["CMD", "true"]},
            "StopTimeout": 100,
            "HostConfig": host,
            "NetworkingConfig": {"EndpointsConfig": {mode: {"Aliases": ["proxy"]}} if mode == "llm_default" else {}},
            **other,
        }

    def variable(self, credential: str) -> Variable:
        async def read() -> HeldKey:
            return self.current if credential == "openai-prod" else self.other

        return Variable(credential, Names("OPENAI_API_KEY" if credential == "openai-prod" else "OTHER_KEY").key, read)

    def fleet(self, wire: Wire | None = None, **settings: Any) -> DockerFleet:
        async def resolve(reference: str) -> KeyMaterial:
            raise AssertionError(f"{reference} is not needed")

        async def pause(seconds: float) -> None:
            self.seconds += seconds
            await asyncio.sleep(0)

        found = {
            "project": "llm",
            "service": "proxy",
            "network": "llm_default",
            "roll": self.roll,
            "state": STATE if self.roll == "restart" else None,
            "master_key": "env:MASTER",
            "poll_interval": "20s",
            **self.more,
            **settings,
        }
        return DockerFleet(
            DockerFleet.Settings.model_validate(found),
            resolve,
            self.variable,
            transport=wire or Wire(self),
            clock=lambda: self.seconds,
            pause=pause,
            now=lambda: 1_700_000_000 + self.seconds,
        )

    async def ready(self) -> DockerFleet:
        """A fleet whose members all say what they serve."""
        fleet = self.fleet()
        for member in await fleet.members():
            await self.until(fleet, member)
        return fleet

    async def until(self, fleet: DockerFleet, member: Member) -> None:
        for _ in range(20):
            if await fleet.serving(member, "openai-prod") is not None:
                return
        raise AssertionError(f"{member.name} does not come up")

    def names(self) -> list[str]:
        return sorted(each.name for each in self.engine.containers.values())

    def texts(self) -> str:
        """All that an engine keeps, but for environments."""
        documents = [each.inspected(self.engine.network_id) for each in self.engine.containers.values()]
        for document in documents:
            document["Config"] = {name: each for name, each in document["Config"].items() if name != "Env"}
        return json.dumps(documents) + json.dumps(self.engine.calls)
