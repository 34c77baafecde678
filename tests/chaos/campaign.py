"""The whole of it: the outside and the worlds are started, the points found, the cases played, and the leaks looked for."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from keyturn.testing.leaks import Leak, Needles, descendants, in_folder, in_processes
from tests.chaos import hosts
from tests.chaos.births import Nursery
from tests.chaos.histories import played
from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.plan import Plan, effects_of
from tests.chaos.report import Report
from tests.chaos.scene import Case, Result, Scene, play
from tests.chaos.shapes import Shape
from tests.chaos.together import Disaster, prefect_killed, vault_sealed
from tests.chaos.troubles import Point
from tests.chaos.watch import Watch
from tests.chaos.world import World

AT_ONCE = 8  # cases that do not wait; more would make two cores slower than the time limits of the clients allow
_FRESH_AFTER = 10  # cases; then a person puts a new key into the secret


class Campaign:
    """`only`: of the cases, those whose line (`family: id @ world`) has this text in it."""

    def __init__(self, plan: Plan, folder: Path, only: str = "") -> None:
        self.plan, self.only = plan, only
        self.outside = Outside(folder)
        self.nursery = Nursery(self.outside)
        self.report = Report(plan.seed, plan.size.name)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._worlds: list[World] = []
        self._begun = time.monotonic()

    async def run(self) -> Report:
        hosts.lead_to(hosts.DIRECT)
        try:
            await asyncio.gather(self.outside.start(), self.nursery.start())
            await asyncio.gather(self._play_all(), self._play_histories())
            await asyncio.to_thread(self._look_for_leaks)
        finally:
            await self.nursery.stop()
            await self.outside.stop()
            for world in self._worlds:
                world.account.stop()
        self.report.seconds = round(time.monotonic() - self._begun)
        return self.report

    async def _play_all(self) -> None:
        worlds = [World(shape, self.outside) for shape in self.plan.shapes() if self._wanted(shape)]
        bundles = [(World(shape, self.outside), cases) for shape, cases in self.plan.bundles() if self._wanted(shape)]
        self._worlds = [*worlds, *(world for world, _ in bundles)]
        await asyncio.gather(*map(self._start, self._worlds))
        found = dict(zip(worlds, await asyncio.gather(*(self._discover(world) for world in worlds)), strict=True))
        self._say(f"{sum(map(len, found.values()))} points in {len(found)} worlds")
        self.report.points = {world.name: [str(point) for point in effects_of(points)] for world, points in found.items()}
        # Also where one world alone is played again, it has the cases that it had among all.
        names = [shape.name for shape in self.plan.shapes()]
        every = [
            (world, self.plan.cases(world.shape, names.index(world.name), len(names), points))
            for world, points in found.items()
        ]
        chosen = [(world, self._chosen(world, cases)) for world, cases in (*bundles, *every)]
        self._say(f"{sum(len(cases) for _, cases in chosen)} cases, and the outages")
        await asyncio.gather(*(self._play_in(world, cases) for world, cases in chosen))
        await self._disaster(vault_sealed(self.outside), {w: points for w, points in found.items() if w.uses("vault")})
        # Last: a Prefect that was killed has forgotten who holds its slots, and the next run of each would wait for that.
        await self._disaster(prefect_killed(self.outside), found)

    async def _play_histories(self) -> None:
        if not self.plan.size.examples or self.only:
            return
        try:
            self.report.model_examples = await played(self.plan.size.examples, self.plan.seed)
        except Exception as error:
            self.report.model_fault = str(error)
        self._say(f"histories of the model: {self.report.model_examples or self.report.model_fault}")

    def _wanted(self, shape: Shape) -> bool:
        return "@ " not in self.only or self.only.endswith(f"@ {shape.name}")

    async def _start(self, world: World) -> None:
        async with self._places:
            await world.start()
        self._say(f"{world.name} is up")

    async def _discover(self, world: World) -> list[Point]:
        """The points of a run that nobody disturbs, which has to end as it should.

        Where the first key, which a person put there, goes by a way of its own, they are those of a second run.
        """
        points: list[Point] = []

        async def undisturbed(scene: Scene) -> bool:
            worker = scene.worker()
            await scene.run(worker)
            points[:] = map(Point.of, worker.seen)
            return False

        for _ in range(2 if world.account.first_differs else 1):
            result = await self._play(Case("undisturbed", "none", undisturbed), world, Watch(world))
            if result.left.facts:
                raise RuntimeError(f"{world.name}: a run that nobody disturbed: {result.left.facts}, {result.told}")
        return points

    async def _play_in(self, world: World, cases: Sequence[Case]) -> None:
        watch = Watch(world)
        for number, case in enumerate(cases):
            if number % _FRESH_AFTER == _FRESH_AFTER - 1:
                await world.renew()
            self.report.add(await self._play(case, world, watch))

    def _chosen(self, world: World, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if self.only in f"{case.family}: {case.id} @ {world.name}"]

    async def _disaster(self, disaster: Disaster, found: dict[World, list[Point]]) -> None:
        worlds = list(found)[: self.plan.size.outages]
        cases = {world: disaster.case(*self.plan.held(f"{disaster.name} {world.name}", found[world])) for world in worlds}
        if any(self._chosen(world, [case]) for world, case in cases.items()):
            await asyncio.gather(*(self._play_in(world, [case]) for world, case in cases.items()))

    async def _play(self, case: Case, world: World, watch: Watch) -> Result:
        chance = self.plan.chance(f"{case.id} @ {world.name}")
        try:
            if case.waits:
                result = await play(case, world, self.nursery, watch, chance)
            else:
                async with self._places:
                    result = await play(case, world, self.nursery, watch, chance)
        except Exception as error:
            left = Left(unfinished=[f"the driver failed: {error!r}"])
            result = Result(case.id, case.family, world.name, True, 0, False, left, [], 0, [])
            await world.renew()
        self._tell(result)
        return result

    def _tell(self, result: Result) -> None:
        state = "ok" if result.met else "not reached"
        if result.left.facts or result.unexpected:
            state = "NOT WELL: " + " | ".join((*result.left.facts, *result.unexpected))
        self._say(f"{result.seconds:5.1f} s, {result.runs} runs, {result.family}: {result.case} @ {result.world}: {state}")

    def _say(self, sentence: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._begun:6.0f} s  {sentence}\n")

    def _look_for_leaks(self) -> None:
        """In every file of this run, databases and logs included, and in every process but the proxies and supervisors."""
        needles = Needles([self.outside.literal])
        own = descendants(os.getpid())
        proxies = {
            pid
            for world in self.outside.processes.running.items()
            if world[0].startswith("member-")
            for pid in (world[1].pid, *descendants(world[1].pid))
        }
        folders = [self.outside.folder, self.outside.here.data, self.outside.elsewhere.data]
        found: list[Leak] = [leak for folder in folders for leak in in_folder(needles, folder)]
        found += in_processes(needles, own.keys() - proxies)
        self.report.leaks = {leak.place: leak.bytes_found for leak in found}
