"""Races: several workers at once, each call of each a little slower by chance."""

from __future__ import annotations

import asyncio
from random import Random

from tests.chaos.scene import Case, Scene
from tests.chaos.troubles import Kill, Point, Race, Side
from tests.chaos.worker import Where


def two_at_once(second: Where, number: int) -> Case:
    """One credential, two workers, asked at the same time. One key is promoted: it is the answer to both."""

    async def play(scene: Scene) -> bool:
        start = asyncio.Barrier(2)
        workers = [scene.worker(where, _racing(scene, start)) for where in (Where.HERE, second)]
        await asyncio.gather(*(scene.run(worker) for worker in workers))
        await scene.watch.look("two at once")
        [promoted] = scene.watch.promoted.values()
        if len(promoted) > 2:
            scene.watch.lost.append(f"two workers at once promoted {len(promoted) - 1} keys")
        return True

    return Case(f"two at once, the second {second}, #{number}", "race", play)


def one_of_two_killed(point: Point, side: Side) -> Case:
    async def play(scene: Scene) -> bool:
        strike = Kill(point, side)
        workers = [scene.worker(Where.HERE, strike), scene.worker(Where.ELSEWHERE)]
        await asyncio.gather(*(scene.run(worker) for worker in workers))
        await scene.finish()
        return strike.reached

    return Case(f"two at once, one killed {side} {point}", "race", play)


def all_at_once(number: int) -> Case:
    """Every credential of one bundle at the same time, from two machines."""

    async def play(scene: Scene) -> bool:
        names = [each.name for each in scene.world.credentials]
        turns = [Where.HERE if n % 2 else Where.ELSEWHERE for n in range(len(names))]
        scene.chance.shuffle(turns)
        start = asyncio.Barrier(len(names))
        workers = [scene.worker(where, _racing(scene, start)) for where in turns]
        await asyncio.gather(*(scene.run(worker, name) for worker, name in zip(workers, names, strict=True)))
        return True

    return Case(f"all of a bundle at once, #{number}", "race", play)


def _racing(scene: Scene, start: asyncio.Barrier) -> Race:
    return Race(Random(scene.chance.random()), start)
