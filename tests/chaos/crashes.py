"""The crash matrix: a run is killed, or put to sleep while others finish, before and after every call it makes."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.scene import Case, Scene
from tests.chaos.troubles import Kill, Point, Side, Stall
from tests.chaos.worker import Where


def killed(point: Point, side: Side, then: Where | None = None) -> Case:
    async def play(scene: Scene) -> bool:
        strike = Kill(point, side)
        await scene.run(scene.worker(trouble=strike))
        await scene.finish(first=then)
        return strike.reached

    return Case(f"kill {side} {point}" + (f", then {then}" if then else ""), "crash", play)


def stalled(point: Point, side: Side, then: Where = Where.ELSEWHERE) -> Case:
    """The second worker finishes everything while the first sleeps; then the first wakes, and one more run comes after it."""

    async def play(scene: Scene) -> bool:
        async def meanwhile() -> None:
            await scene.finish(first=then)

        strike = Stall(point, side, meanwhile)
        await scene.run(scene.worker(trouble=strike))
        await scene.finish()
        return strike.reached

    return Case(f"stall {side} {point}" + (f", then {then}" if then is not Where.ELSEWHERE else ""), "stall", play)


def matrix(points: Sequence[Point]) -> list[Case]:
    """Every point, both sides, both ways."""
    return [make(point, side) for point in points for side in Side for make in (killed, stalled)]


def leases(points: Sequence[Point]) -> list[Case]:
    """The same Prefect and another home: whoever comes second waits for the lease of the one who died, or sleeps."""
    return [make(point, Side.AFTER, Where.BESIDE) for point in points for make in (killed, stalled)]
