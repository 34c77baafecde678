"""A supervisor in this process around a real fake proxy, with a store in memory and every clock in the test's hand."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from keyturn.delivery.control import control_app, health_app
from keyturn.delivery.keys import Variable
from keyturn.delivery.listeners import control_socket, health_socket, serving
from keyturn.delivery.own_proof import OwnProof
from keyturn.delivery.supervisor import Supervisor
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef
from keyturn.settings import CanarySettings
from keyturn.testing.processes import free_port


def new_key() -> KeyMaterial:
    return KeyMaterial("sk-" + secrets.token_hex(24))


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until the condition holds (or, for a coroutine function, until it gives something true)."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


class Shelf:
    """CURRENT of every credential. `failing`: what reading it raises instead."""

    def __init__(self, *credentials: str) -> None:
        self.held: dict[str, KeyMaterial] = {name: new_key() for name in credentials}
        self.failing: dict[str, list[Exception]] = {}
        self.reads = 0
        self.seen: list[KeyMaterial] = list(self.held.values())

    def turn(self, credential: str) -> VersionRef:
        """A new key is promoted."""
        self.held[credential] = new_key()
        self.seen.append(self.held[credential])
        return self.version(credential)

    def version(self, credential: str) -> VersionRef:
        fingerprint = self.held[credential].fingerprint()
        return VersionRef(f"v-{fingerprint}", fingerprint)

    def variable(self, credential: str, name: str) -> Variable:
        async def read() -> HeldKey:
            self.reads += 1
            await asyncio.sleep(0)
            if self.failing.get(credential):
                raise self.failing[credential].pop(0)
            return HeldKey(self.version(credential), self.held[credential])

        return Variable(credential, name, read)


class Clock:
    """Every pause of the supervisor ends at once, unless `hold` was called: then none ends before `release`."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.paused = 0

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def pause(self, seconds: float) -> None:
        self.paused += 1
        await self._open.wait()


class Supervised:
    """One running member: its addresses, its shelf and clock, and the supervisor's task."""

    def __init__(
        self, supervisor: Supervisor, shelf: Shelf, clock: Clock, port: int, control: str, health: int | None
    ) -> None:
        self.supervisor, self.shelf, self.clock = supervisor, shelf, clock
        self.patience = Clock()  # of the proof
        self.url, self.control = f"http://127.0.0.1:{port}", control
        self.token = KeyMaterial(secrets.token_hex(16))
        self.task: asyncio.Task[int]
        uds = control.removeprefix("unix:") if control.startswith("unix:") else None
        self.http = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=uds), timeout=30)
        self.base = "http://supervisor" if uds else control
        self.health_url = f"http://127.0.0.1:{health}" if health else self.base

    async def status(self, token: str | None = None) -> httpx.Response:
        return await self.http.get(f"{self.base}/v1/status", headers=self.login(token))

    async def roll(self, fingerprint: str, credential: str = "openai-prod", token: str | None = None) -> httpx.Response:
        body = {"credential": credential, "fingerprint": fingerprint}
        return await self.http.post(f"{self.base}/v1/roll", json=body, headers=self.login(token))

    async def health(self, name: str = "readiness") -> int:
        """What a balancer sees."""
        return (await self.http.get(f"{self.health_url}/health/{name}")).status_code

    async def ask(self) -> dict[str, Any]:
        """What the proxy answers, over a new connection."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.post(f"{self.url}/v1/chat/completions", json={"messages": []})
            found: dict[str, Any] = answer.json()
            return found

    async def refuses(self) -> bool:
        """Whether the proxy takes no new connection: it has had its SIGTERM."""
        try:
            await self.ask()
        except httpx.TransportError:
            return True
        return False

    async def at_rest(self) -> dict[str, Any]:
        await until(lambda: self.supervisor.state not in ("starting", "draining"))
        return self.supervisor.status()

    def login(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.reveal() if token is None else token}"}


async def _master_key() -> KeyMaterial:
    return new_key()


def proxy_command(port: int, *options: object) -> list[str]:
    return [
        *(sys.executable, "-m", "keyturn.testing.fake_proxy", "--config", "ignored.yaml", "--port", str(port)),
        *map(str, options),
    ]


@asynccontextmanager
async def supervised(
    *options: object,
    shelf: Shelf | None = None,
    names: dict[str, str] | None = None,
    socket: Path | None = None,
    health: int | None = None,
    ready: bool = True,
    prove: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Supervised]:
    """Run a member, stopped at the end. `options` are the fake proxy's; `names`: credential -> variable.

    `socket`: a path for its control endpoint. `health`: a port for the listener that balancers reach. `prove`: it proves its
    keys, with these settings of OwnProof.
    """
    names = names or {"openai-prod": "OPENAI_API_KEY"}
    shelf, clock = shelf or Shelf(*names), Clock()
    port = free_port()
    control = f"unix:{socket}" if socket else f"http://127.0.0.1:{free_port()}"
    patience = Clock()
    if prove is not None:
        canaries = {credential: CanarySettings(model=name) for credential, name in names.items()}
        settings["proof"] = OwnProof(
            **{
                "canaries": canaries,
                "url": f"http://127.0.0.1:{port}",
                "master_key": _master_key,
                "pause": patience.pause,
                **prove,
            }
        )
    supervisor = Supervisor(
        proxy_command(port, *options),
        [shelf.variable(credential, name) for credential, name in names.items()],
        f"http://127.0.0.1:{port}/health/readiness",
        **{"grace": timedelta(seconds=20), "start_timeout": timedelta(seconds=30), "pause": clock.pause, **settings},
    )
    member = Supervised(supervisor, shelf, clock, port, control, health)
    member.patience = patience
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(member.http)
        listener = stack.enter_context(control_socket(control))
        await stack.enter_async_context(serving(control_app(supervisor, member.token), listener))
        if health is not None:
            listener = stack.enter_context(health_socket(f"127.0.0.1:{health}"))
            await stack.enter_async_context(serving(health_app(supervisor), listener))
        member.task = asyncio.create_task(supervisor.run())
        try:
            if ready:
                await until(lambda: supervisor.serving or member.task.done())
            yield member
        finally:
            clock.release()
            patience.release()
            supervisor.stop()
            await asyncio.gather(member.task, return_exceptions=True)
