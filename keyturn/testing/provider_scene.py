"""What the provider suites are played on: a vendor's simulator on loopback, and adapters that talk to it."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Receive, Scope, Send

from keyturn.material import KeyMaterial
from keyturn.model import Mark
from keyturn.providers.vendor import Vendor
from keyturn.references import Resolver, resolver
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.vendors.service import Key, Simulator

ADMIN = "KEYTURN_SUITE_ADMIN"  # the variable that the adapters' settings name: `env:KEYTURN_SUITE_ADMIN`
MARK = Mark.of("suite", "memory:suite")


class Server:
    """One server for all tests, because to start and stop it takes longer than most of them; each test sets its `app`."""

    app: ASGIApp
    url: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Clock:
    """Time, turned by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


def new_label() -> str:
    """A key's name as keyturn makes them."""
    return MARK.label(MARK.rotation(uuid.uuid4().hex[:12]))


@dataclass
class Scene:
    """`provider` talks to `vendor`. `environ`: what its references lead to. `literal`: stands in every key that is made."""

    vendor: Simulator
    provider: Any
    clock: Clock
    environ: dict[str, str]
    literal: str
    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def live(self) -> list[Key]:
        """The keys that the vendor accepts."""
        return [key for key in self.vendor.keys.values() if key.accepted(self.clock())]

    def counts(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.vendor.log)


class ProviderScene:
    """The part of a suite that a vendor's test says: its adapter, its simulator, and the settings that lead to that."""

    PROVIDER: ClassVar[type[Vendor]]
    SIMULATOR: ClassVar[type[Simulator]]

    def settings(self, url: str) -> Mapping[str, Any]:
        """The adapter's settings. The management credential is `env:KEYTURN_SUITE_ADMIN`."""
        raise NotImplementedError

    def admin(self) -> str:
        """The text of a management credential."""
        return f"admin-{secrets.token_hex(24)}"

    def adapter(self, settings: Any, resolve: Resolver, now: Callable[[], datetime]) -> Vendor:
        """The adapter that is tested."""
        return self.PROVIDER(settings, resolve, now)

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Server]:
        server = Server()
        with LoopbackServer(server) as running:
            server.url = running.url
            yield server

    @pytest_asyncio.fixture
    async def scene(self, server: Server) -> AsyncIterator[Scene]:
        clock, admin = Clock(), KeyMaterial(self.admin())
        vendor = self.SIMULATOR(admin, clock)
        literal = "kt" + secrets.token_hex(8)
        vendor.behaviour.key_literal = literal
        server.app = vendor.app()
        environ = {ADMIN: admin.reveal()}
        settings = self.PROVIDER.Settings.model_validate(self.settings(server.url))  # type: ignore[attr-defined]
        provider = self.adapter(settings, resolver(environ=environ), clock.moment)
        yield Scene(vendor, provider, clock, environ, literal, server)
        await provider.aclose()
