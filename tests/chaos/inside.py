"""A world as keyturn itself sees it, past every gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.config import load
from keyturn.journal import Journal
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.references import resolver

if TYPE_CHECKING:
    from tests.chaos.world import World


@asynccontextmanager
async def assembled(world: World, credential: str) -> AsyncIterator[Assembly]:
    """One credential, wired to its adapters in this process."""
    config = load(world.config)
    adapters = Adapters(config)

    async def read(secret: SecretRef) -> KeyMaterial:
        return (await adapters.store(secret.store).current(secret)).material

    adapters.resolve = resolver(read, environ={**world.outside.environ, **world.environ})
    try:
        async with assemble(config, credential, adapters=adapters) as c:
            c.now = world.account.now
            yield c
    finally:
        await adapters.aclose()


async def journal(world: World, credential: str) -> Journal:
    """The notes beside its deciding secret."""
    async with assembled(world, credential) as c:
        secret, store = c.decider
        return Journal.parse(await store.annotations(secret))


async def held(world: World, credential: str) -> set[str]:
    """The fingerprints that any stage of its secrets holds."""
    async with assembled(world, credential) as c:
        return {version.fingerprint for secret, store in c.secrets for version in (await store.stages(secret)).values()}
