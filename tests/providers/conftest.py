"""An OpenAI on loopback, empty but for one project and one service account, and adapters that talk to it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Receive, Scope, Send

from keyturn.material import KeyMaterial
from keyturn.providers.openai import OpenAI
from keyturn.references import resolver
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import simulator

PROJECT = "proj_test"
ACCOUNT = "svc_acct_test"

Provider = Callable[..., OpenAI]


class Clock:
    """The simulator's time, turned by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admin_key() -> KeyMaterial:
    return KeyMaterial("sk-admin-" + secrets.token_hex(24))


@pytest.fixture
def organization(admin_key: KeyMaterial, clock: Clock) -> Organization:
    organization = Organization(admin_key, clock=clock)
    organization.add_project(PROJECT)
    organization.add_account(PROJECT, "litellm-prod", id=ACCOUNT)
    return organization


class Server:
    """One server for all tests, because to start and stop it takes longer than most of them; each test sets its `app`."""

    app: ASGIApp
    url: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    with LoopbackServer(server) as running:
        server.url = running.url
        yield server


@pytest.fixture
def base_url(server: Server, organization: Organization) -> str:
    server.app = simulator(organization)
    return f"{server.url}/v1"


@pytest_asyncio.fixture
async def provider(base_url: str, admin_key: KeyMaterial) -> AsyncIterator[Provider]:
    """Makes adapters. Settings by name; without any, one whose keys belong to the project's service account."""
    made: list[OpenAI] = []

    def make(**settings: Any) -> OpenAI:
        given = {
            "admin_key": "env:ADMIN",
            "project": PROJECT,
            "service_account": ACCOUNT,
            "base_url": base_url,
            "timeout": "30s",
        } | settings
        adapter = OpenAI(OpenAI.Settings.model_validate(given), resolver(environ={"ADMIN": admin_key.reveal()}))
        made.append(adapter)
        return adapter

    yield make
    for adapter in made:
        await adapter.aclose()
