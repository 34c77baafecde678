"""Every order in which the requests of several workers can arrive at a server, with a death after any of them.

A worker is a verb of a store over a model of its server, which waits for its `Turn` before each request. Between two turns
nothing but that worker moves, so a scene plays the same way each time, and an order is explored by playing it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Generator, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keyturn.errors import KeyturnError

Work = Coroutine[Any, Any, object]
DIED = "died"


class Turn:
    """Gives the turn to whoever drives the coroutines."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Worker:
    """One verb under way. `outcome`: what it gave, its error, or `DIED`. `ended_at`: how many requests all had made then."""

    work: Work
    outcome: object = None
    done: bool = False
    ended_at: int = 0

    def step(self) -> None:
        """The request that it waits to make arrives, and it goes on to its next one."""
        try:
            self.work.send(None)
        except StopIteration as end:
            self.outcome, self.done = end.value, True
        except KeyturnError as error:
            self.outcome, self.done = error, True

    def die(self) -> None:
        """Its last request has arrived all the same."""
        self.work.close()
        self.outcome, self.done = DIED, True

    def go(self, requests: int) -> None:
        """So many requests, with nobody else about."""
        while not self.done and requests >= 0:
            self.step()  # the first one leads up to its first request
            requests -= 1


@dataclass
class Scene:
    """What is played: `works` side by side. `moved` is called after each request."""

    works: list[Work]
    workers: list[Worker] = field(default_factory=list)
    requests: int = 0

    def moved(self) -> None:
        pass

    @property
    def outcomes(self) -> list[object]:
        """Errors as their types."""
        return [type(worker.outcome) if isinstance(worker.outcome, Exception) else worker.outcome for worker in self.workers]


async def dying(work: Work, requests: int, heir: Work) -> object:
    """One that dies after so many requests, if it makes so many, and then somebody else."""
    worker = Worker(work)
    worker.step()
    for _ in range(requests):
        if worker.done:
            break
        await Turn()
        worker.step()
    worker.die()
    return await heir


class Once:
    """Whether something is new. Orders that end in the same state need one look at what can follow."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def __call__(self, *what: Hashable) -> bool:
        is_new = what not in self._seen
        self._seen.add(what)
        return is_new


S = TypeVar("S", bound=Scene)
Choose = Callable[[int], int]  # one of so many


def alone(work: Work) -> Any:
    """What one verb gives, or raises, with nobody else about."""
    worker = Worker(work)
    while not worker.done:
        worker.step()
    if isinstance(worker.outcome, Exception):
        raise worker.outcome
    return worker.outcome


def play(scene: S, choose: Choose, switches: int | None = None, mortal: Collection[int] = (), alike: bool = False) -> S:
    """One order. At most so many changes (None: any number) away from a worker that could go on; at most one death.

    `mortal`: who may die, by number. `alike`: the first worker begins.
    """
    scene.workers = [Worker(work) for work in scene.works]
    mortals = [scene.workers[number] for number in mortal]
    for worker in scene.workers:
        worker.step()
    dead = _dies(mortals, choose)
    living = [worker for worker in scene.workers if not worker.done]
    last: Worker | None = None
    while living:
        could_go_on = living[0] is last
        settled = switches == 0 if could_go_on else alike and last is None
        chosen = 0 if settled else choose(len(living))
        if could_go_on and chosen and switches is not None:
            switches -= 1
        last = living[chosen]
        last.step()
        scene.requests += 1
        scene.moved()
        if not dead and not last.done and last in mortals:
            dead = _dies([last], choose)
        last.ended_at = scene.requests
        living = [worker for worker in (last, *(other for other in living if other is not last)) if not worker.done]
    return scene


def _dies(mortals: list[Worker], choose: Choose) -> bool:
    number = choose(1 + len(mortals))
    if number:
        mortals[number - 1].die()
    return number > 0


def every_order(begin: Callable[[], S], switches: int, mortal: Collection[int] = (), alike: bool = False) -> Iterator[S]:
    """Every order with at most so many switches, and with a death of one of the mortal after every request of theirs.

    Without that bound there is no end: a promote and a discard can undo each other's tries for ever, if each request of
    the one comes between two of the other. `alike`: all do the same, so that it does not matter who begins; then all are
    mortal or none is. Depth first: a scene is played anew with the next choice at its last fork.
    """
    prefix: list[int] = []
    while True:
        forks: list[tuple[int, int]] = []

        def choose(options: int, prefix: list[int] = prefix, forks: list[tuple[int, int]] = forks) -> int:
            if options == 1:
                return 0
            choice = prefix[len(forks)] if len(forks) < len(prefix) else 0
            forks.append((choice, options))
            return choice

        yield play(begin(), choose, switches, mortal, alike)
        while forks and forks[-1][0] + 1 >= forks[-1][1]:
            forks.pop()
        if not forks:
            return
        prefix = [*(choice for choice, _ in forks[:-1]), forks[-1][0] + 1]
