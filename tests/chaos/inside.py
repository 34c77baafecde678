"""A world as keyturn itself sees it, past every gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.config import load
from keyturn.journal import Journal
from keyturn.references import resolver
from tests.chaos.world import World


@asynccontextmanager
async def assembled(world: World, credential: str) -> AsyncIterator[Assembly]:
    """One credential, wired to its adapters in this process."""
    config = load(world.config)
    adapters = Adapters(config, resolver(environ={**world.outside.environ, **world.environ}))
    try:
        async with assemble(config, credential, adapters=adapters) as c:
            yield c
    finally:
        await adapters.aclose()


async def journal(world: World, credential: str) -> Journal:
    """The notes beside its deciding secret."""
    async with assembled(world, credential) as c:
        secret, store = c.decider
        return Journal.parse(await store.annotations(secret))
