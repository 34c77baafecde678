"""Which cases are played in which world: everything that one seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import get_args

from tests.chaos.crashes import killed, overslept, stalled
from tests.chaos.disk import DISK
from tests.chaos.person import PERSON
from tests.chaos.races import all_at_once, one_of_two_killed, two_at_once
from tests.chaos.scene import Case
from tests.chaos.shapes import BUNDLES, OTHERS, OVERLAPPING, SHAPES, Kind, Shape
from tests.chaos.troubles import Point, Side
from tests.chaos.wires import faults_of, on_the_wire
from tests.chaos.worker import Where

_ASIDE = ("prefect", "proxy")  # kinds of parts whose calls change no key, no secret and no member
_LOGS = "prefect POST /api/logs/"
_TIMES = (1, 1, 3, 20)  # how many calls meet a fault on the wire


@dataclass(frozen=True, slots=True)
class Size:
    """`whole`: the crash matrix of every effect; else `crashes` of them in each world, killed and stalled. The rest: how
    many of each kind in each world, of `bundles` and `outages` in all. `before`: kills before an effect, beside those after
    each (in between a run only reads)."""

    name: str
    whole: bool
    crashes: int
    before: int
    reads: int
    overslept: int
    wire: int
    races: int
    bundles: int
    outages: int  # worlds that have a run under way when a shared part goes down
    examples: int  # histories of the model; `make model` plays as many


SIZES = {
    size.name: size
    for size in (
        Size("ci", False, crashes=1, before=0, reads=0, overslept=0, wire=1, races=0, bundles=0, outages=1, examples=0),
        Size(
            "full", True, crashes=0, before=6, reads=3, overslept=2, wire=18, races=2, bundles=1, outages=99, examples=5000
        ),
    )
}


def effects_of(points: Sequence[Point]) -> list[Point]:
    """Those at which a run is killed: what changes a key, a secret or a member."""
    return [point for point in points if not point.reads and point.kind not in _ASIDE]


def stallable(points: Sequence[Point]) -> list[Point]:
    """Those at which a run may sleep while others finish. At a change of the disk the file's lock is held: who sleeps there
    holds up everybody, and is told so. Prefect's thread sends the logs at a moment of its own, which may be that one."""
    on_disk = any(point.kind == DISK for point in points)
    return [point for point in points if point.kind != DISK and not (on_disk and point.name == _LOGS)]


def _either(chance: Random) -> Side:
    return chance.choice(list(Side))


class Plan:
    """`seed` decides everything."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size, self.seed = size, seed

    def chance(self, what: str) -> Random:
        """The same for the same seed and words, whatever else was drawn."""
        return Random(f"{self.seed}/{what}")

    def shapes(self) -> list[Shape]:
        """Full: all. Else each kind of store once, two stores at once, an overlap, and each other shape of provider once."""
        if self.size.whole:
            return [*SHAPES, *OVERLAPPING, *OTHERS]
        chance = self.chance("shapes")
        alone = [[shape for shape in SHAPES if [place.store for place in shape.places] == [kind]] for kind in get_args(Kind)]
        together = [shape for shape in SHAPES if len(shape.places) > 1]
        vendors = dict.fromkeys(shape.vendor for shape in OTHERS)
        others = [[shape for shape in OTHERS if shape.vendor == vendor] for vendor in vendors]
        return [chance.choice(shapes) for shapes in (*alone, together, OVERLAPPING, *others)]

    def bundles(self) -> list[tuple[Shape, list[Case]]]:
        if not self.size.bundles:
            return []
        chance = self.chance("bundles")
        shapes = BUNDLES if self.size.whole else (chance.choice(BUNDLES),)
        return [(shape, [all_at_once(n + 1) for n in range(self.size.bundles)]) for shape in shapes]

    def cases(self, shape: Shape, number: int, worlds: int, points: Sequence[Point]) -> list[Case]:
        """`number`: of this one among all the `worlds`. `points`: as they were met in an undisturbed run of it."""
        if shape in OTHERS and not self.size.whole:
            return self._few(shape, points)
        chance = self.chance(shape.name)
        effects = [point for point in points if not point.reads]
        core = effects_of(points)
        aside = [point for point in effects if point.kind in _ASIDE]
        sleeps = set(stallable(points))
        held = [point for point in core if point in sleeps]
        if self.size.whole:
            cases = [killed(point, Side.AFTER) for point in core] + [stalled(point, _either(chance)) for point in held]
            cases += [killed(point, Side.BEFORE) for point in chance.sample(core, self.size.before)]
            # The calls to Prefect are the same in all worlds, so they share them.
            shared = [point for n, point in enumerate(aside) if n % worlds == number]
            for point in shared:
                cases.append(chance.choice((killed, stalled) if point in sleeps else (killed,))(point, _either(chance)))
            cases.append(chance.choice((killed, stalled))(chance.choice(held), Side.AFTER, Where.BESIDE))
        else:
            cases = []
            asleep = [point for point in aside if point in sleeps]
            for make, fitting, beside in ((killed, core, aside), (stalled, held, asleep)):
                chosen = [*chance.sample(fitting, self.size.crashes), chance.choice(beside)]
                cases += [make(point, _either(chance)) for point in chosen]
        reads = [point for point in points if point.reads and point.kind not in _ASIDE]
        cases += [stalled(point, Side.AFTER) for point in chance.sample(reads, self.size.reads)]
        cases += [overslept(point, _either(chance)) for point in chance.sample(held, self.size.overslept)]
        cases += self._wire(chance, points, number)
        for n in range(self.size.races):
            cases.append(two_at_once(list(Where)[n % len(Where)], n + 1))
            cases.append(one_of_two_killed(chance.choice(effects), _either(chance)))
        chance.shuffle(cases)
        return cases

    def _few(self, shape: Shape, points: Sequence[Point]) -> list[Case]:
        """Of a shape that differs in its provider alone: a kill and a stall at what its vendor, its pool or its person is
        asked to do."""
        chance = self.chance(shape.name)
        core = effects_of(points)
        own = [point for point in core if point.kind in ("provider", PERSON) or "-ahead" in point.name]
        sleeps = set(stallable(points))
        held = [point for point in own if point in sleeps]
        return [killed(chance.choice(own), _either(chance)), stalled(chance.choice(held), _either(chance))]

    def held(self, world: str, points: Sequence[Point]) -> tuple[Point, Side]:
        """Where a run of this world is held when a shared part goes down."""
        chance = self.chance(f"{world}, outage")
        return chance.choice(points), _either(chance)

    def _wire(self, chance: Random, points: Sequence[Point], number: int) -> list[Case]:
        """Each world takes others of what can happen to a kind of part: in one order for all, from a place of its own on."""
        pairs = sorted({(point.kind, fault) for point in points for fault in faults_of(point)})
        pairs.sort(key=lambda pair: self.chance("wire " + " ".join(pair)).random())
        begin = number * self.size.wire % len(pairs)
        cases = []
        for kind, fault in [*pairs[begin:], *pairs[:begin]][: self.size.wire]:
            fitting = [point for point in points if point.kind == kind and fault in faults_of(point)]
            effects = [point for point in fitting if not point.reads]
            point = chance.choice(effects if effects and chance.random() < 0.6 else fitting)
            cases.append(on_the_wire(point, fault, chance.choice(_TIMES)))
        return cases
