"""One case in one world: workers are sent, troubled, followed by others until all is done, and then it is judged."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.chaos.judge import Left, judge
from tests.chaos.watch import Watch
from tests.chaos.worker import Nursery, Outcome, Peace, Trouble, Where, Worker
from tests.chaos.world import World

MOST_RUNS = 5


@dataclass(frozen=True)
class Case:
    """`id` names it in a report and for a replay. `play` does it, and tells whether its fault was met."""

    id: str
    family: str
    play: Callable[[Scene], Awaitable[bool]]
    counts_as_fault: bool = True


@dataclass
class Result:
    """What a case came to. `runs`: those that were needed after the troubled one. `told`: each run in a sentence."""

    case: Case
    world: str
    met: bool
    rotations: int
    runs: int
    left: Left
    seconds: float
    told: list[str]

    @property
    def converged(self) -> bool:
        return not self.left.unfinished


@dataclass
class Scene:
    """What a case has at hand."""

    world: World
    nursery: Nursery
    watch: Watch
    chance: Random
    told: list[str] = field(default_factory=list)
    rotations: int = 0
    runs: int = 0
    gave_up: list[str] = field(default_factory=list)

    def worker(self, where: Where = Where.HERE, trouble: Trouble | None = None) -> Worker:
        return Worker(self.world, self.nursery, where, trouble or Peace(), self.watch.look)

    async def run(self, worker: Worker, **parameters: Any) -> Outcome:
        self.rotations += 1
        outcome = await worker.run(**parameters)
        self.told.append(f"{worker.where}: {outcome}")
        return outcome

    async def finish(self, *, first: Where | None = None, credential: str | None = None) -> None:
        """Run again, here and as another worker by turns, until a run says that all is done."""
        where = first or self.chance.choice([Where.HERE, Where.ELSEWHERE])
        for _ in range(MOST_RUNS):
            self.runs += 1
            outcome = await self.run(self.worker(where), credential=credential)
            if outcome.done:
                return
            where = Where.HERE if where is Where.ELSEWHERE else Where.ELSEWHERE
        self.gave_up.append(f"{MOST_RUNS} runs did not end it; the last: {outcome}")


async def play(case: Case, world: World, nursery: Nursery, watch: Watch, chance: Random) -> Result:
    """From a world where all is well to the verdict. After a bad end the world is put back."""
    begun = time.monotonic()
    await watch.begin()
    rolls = await world.rolls()
    scene = Scene(world, nursery, watch, chance)
    met = await case.play(scene)
    left = await judge(world, watch, rolls)
    left.unfinished += scene.gave_up
    if left.facts:
        await world.renew()
    seconds = time.monotonic() - begun
    return Result(case, world.name, met, scene.rotations, scene.runs, left, seconds, scene.told)
