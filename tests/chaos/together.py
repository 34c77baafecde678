"""What happens to a part that all worlds share, while each has a run under way that is held at a point of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.chaos.outside import Outside
from tests.chaos.scene import Case, Scene
from tests.chaos.troubles import Do, Point, Side

SEALED_SECONDS = 4.0
DEAD_SECONDS = 3.0


class Disaster:
    """It comes when all are held, or gone; then all go on. `over`: everything is there again."""

    def __init__(self, name: str, happen: Callable[[], Awaitable[None]], mend: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._happen, self._mend = happen, mend
        self._expected = 0
        self._happened, self.over = asyncio.Event(), asyncio.Event()
        self._mending: asyncio.Task[None] | None = None

    def case(self, point: Point, side: Side) -> Case:
        """One world's part in it."""
        self._expected += 1

        async def play(scene: Scene) -> bool:
            strike = Do(point, side, self._hold)
            try:
                await scene.run(scene.worker(trouble=strike))
            finally:
                if not strike.reached:
                    await self._come(wait=False)
            await self.over.wait()
            await scene.finish()
            return strike.reached

        return Case(f"{self.name} {side} {point}", "outage", play, waits=True)

    async def _hold(self) -> None:
        await self._come(wait=True)

    async def _come(self, *, wait: bool) -> None:
        self._expected -= 1
        if not self._expected:
            await self._happen()
            self._happened.set()
            self._mending = asyncio.create_task(self._mended())
        if wait:
            await self._happened.wait()

    async def _mended(self) -> None:
        await self._mend()
        self.over.set()


def vault_sealed(outside: Outside) -> Disaster:
    async def mend() -> None:
        await asyncio.sleep(SEALED_SECONDS)
        await asyncio.to_thread(outside.bao.unseal)

    return Disaster("vault sealed", lambda: asyncio.to_thread(outside.bao.seal), mend)


def prefect_killed(outside: Outside) -> Disaster:
    async def happen() -> None:
        outside.here.kill()

    async def mend() -> None:
        await asyncio.sleep(DEAD_SECONDS)
        await asyncio.to_thread(outside.here.wait, outside.here.start())

    return Disaster("prefect killed", happen, mend)
