"""The crash matrix: a run is killed, or put to sleep while others finish, before and after every call it makes."""

from __future__ import annotations

from tests.chaos.scene import STRAY_AGE, Case, Scene
from tests.chaos.troubles import Kill, Point, Side, Stall
from tests.chaos.worker import Where


def killed(point: Point, side: Side, then: Where | None = None) -> Case:
    async def play(scene: Scene) -> bool:
        strike = Kill(point, side)
        await scene.run(scene.worker(trouble=strike))
        await scene.finish(then)
        return strike.reached

    return Case(f"kill {side} {point}{_then(then)}", "crash", play, waits=then is Where.BESIDE, point=point)


def stalled(point: Point, side: Side, then: Where = Where.ELSEWHERE) -> Case:
    """Another worker finishes everything while this one sleeps; then it wakes."""

    async def play(scene: Scene) -> bool:
        async def meanwhile() -> None:
            await scene.finish(then, asleep=True)

        scene.delivers_late(point, side)
        strike = Stall(point, side, meanwhile)
        await scene.run(scene.worker(trouble=strike))
        return strike.reached

    return Case(f"stall {side} {point}{_then(then)}", "stall", play, waits=then is Where.BESIDE, point=point)


def overslept(point: Point, side: Side) -> Case:
    """It sleeps for hours: a sweep comes by and takes what it has made for a stray, and then it wakes."""

    async def play(scene: Scene) -> bool:
        async def meanwhile() -> None:
            await scene.world.grow_old(STRAY_AGE)
            await scene.run(scene.worker(Where.ELSEWHERE), sweep=True)

        scene.delivers_late(point, side)
        strike = Stall(point, side, meanwhile)
        await scene.run(scene.worker(trouble=strike))
        return strike.reached

    return Case(f"oversleep {side} {point}", "stall", play, point=point)


def _then(where: Where | None) -> str:
    return f", then {where}" if where is Where.BESIDE else ""
