"""One case in one world: workers are sent, troubled, followed by others until all is done, and then it is judged."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos.births import Nursery
from tests.chaos.fleet import Member
from tests.chaos.judge import judge
from tests.chaos.left import Left
from tests.chaos.troubles import Point, Side
from tests.chaos.watch import Watch
from tests.chaos.worker import Outcome, Peace, Trouble, Where, Worker
from tests.chaos.world import World

MOST_RUNS = 5
STRAY_AGE = 7200  # seconds: twice what a sweep lets pass
_SWEEPS = 0.2  # of the runs that follow are sweeps


@dataclass(frozen=True)
class Case:
    """`id` names it in a report and for a replay. `play` does it, and tells whether its fault was met.

    `waits`: it sleeps most of its time, and takes no place from others. `point`: where it is killed or put to sleep.
    """

    id: str
    family: str
    play: Callable[[Scene], Awaitable[bool]]
    waits: bool = False
    point: Point | None = None


@dataclass
class Result:
    """What a case came to. `runs`: all of them, `swept`: whether a stray had to grow old. `told`: each run in a sentence."""

    case: str
    family: str
    world: str
    met: bool
    runs: int
    swept: bool
    left: Left
    unexpected: list[str]
    seconds: float
    told: list[str]
    point: str = ""

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
    rolls: dict[Member, int]
    told: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    runs: int = 0

    def worker(self, where: Where = Where.HERE, trouble: Trouble | None = None) -> Worker:
        return Worker(self.world, self.nursery, where, trouble or Peace(), self.watch.look)

    async def run(self, worker: Worker, credential: str | None = None, *, sweep: bool = False) -> Outcome:
        self.runs += 1
        outcome = await worker.run(credential, sweep=sweep)
        sentence = f"{worker.where}{', a sweep' if sweep else ''}: {outcome}"
        self.told.append(sentence)
        if outcome.unexpected:
            self.unexpected.append(sentence)
        return outcome

    def delivers_late(self, point: Point, side: Side) -> None:
        """This call is held until others have finished. Where it must kill then, by the vendor's API, that is no outage of
        keyturn's."""
        late = self.world.account.late_kills
        if side is Side.BEFORE and late and late in point.name:
            self.watch.excused = f"{point} was delivered when others had finished"

    async def finish(self, first: Where | None = None, credential: str | None = None, *, asleep: bool = False) -> None:
        """Run again, here and as another worker by turns, until a run says that all is done.

        `asleep`: a worker here sleeps until then, and holds this machine's lock: a rotation here would wait for it.
        A sweep does not replace a key in service that is refused, which a late call may have made of it: it tells people,
        and one of them rotates.
        """
        where = first or self.chance.choice([Where.HERE, Where.ELSEWHERE])
        by_hand = False
        for _ in range(MOST_RUNS):
            sweep = first is None and not by_hand and self.chance.random() < _SWEEPS
            done = (await self.run(self.worker(where), credential, sweep=sweep)).done
            by_hand = done and sweep and bool(self.watch.excused)
            if done and not by_hand:
                return
            first, where = None, Where.HERE if where is not Where.HERE and not asleep else Where.ELSEWHERE

    async def settle(self) -> tuple[Left, bool]:
        """Judge; and where something is left to do, first have it done: by a run, and a stray by a sweep that comes later.

        Gives what is left after all, and whether a stray had to grow old.
        """
        left, swept = await judge(self.world, self.watch, self.rolls), False
        if left.unfinished:
            names = [each.name for each in self.world.credentials]
            told = [name for name in names if any(name in fact for fact in left.unfinished)]
            for name in told or names:  # some vendors give keys no name
                await self.finish(credential=name)
            left = await judge(self.world, self.watch, self.rolls)
        if left.orphans and not left.unfinished:
            swept = True
            await self.world.grow_old(STRAY_AGE)
            await self.run(self.worker(self.chance.choice([Where.HERE, Where.ELSEWHERE])), sweep=True)
            left = await judge(self.world, self.watch, self.rolls)
        return left, swept


async def play(case: Case, world: World, nursery: Nursery, watch: Watch, chance: Random) -> Result:
    """From a world where all is well to the verdict. After a bad end the world is put back."""
    begun = time.monotonic()
    await world.prepare()
    await watch.begin()
    scene = Scene(world, nursery, watch, chance, await world.fleet.rolls())
    met = await case.play(scene)
    left, swept = await scene.settle()
    if left.facts:
        await world.renew()
    seconds = time.monotonic() - begun
    return Result(
        *(case.id, case.family, world.name, met, scene.runs, swept, left, scene.unexpected, round(seconds, 1), scene.told),
        point=str(case.point or ""),
    )
