"""What is done to a worker at a point of its run: it is killed, held asleep, or its call is made to fail."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from keyturn.testing.wire import Exchange
from keyturn.testing.wire_faults import Fault, Reset
from tests.chaos.worker import Worker


class Side(StrEnum):
    """Of an exchange: before the server has heard of it, or when it is done and the worker does not know."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Point:
    """One exchange, as it is found again in another run."""

    name: str
    nth: int
    reads: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, exchange: Exchange) -> Point:
        return cls(exchange.name, exchange.nth, exchange.reads)

    @property
    def part(self) -> str:
        return self.name.split(" ")[0]

    @property
    def kind(self) -> str:
        """The part without its number: one of several members."""
        return self.part.split("-")[0]

    def __str__(self) -> str:
        return f"{self.name} #{self.nth}"


ASKED = Point("prefect POST /api/flow_runs/", 1)


class Strike:
    """Something that happens once, at one side of one exchange. `reached`: whether the run came there."""

    def __init__(self, point: Point, side: Side) -> None:
        self.point, self.side = point, side
        self.reached = False

    def _is_it(self, exchange: Exchange, side: Side) -> bool:
        return not self.reached and side is self.side and (exchange.name, exchange.nth) == (self.point.name, self.point.nth)

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None:
        if not self._is_it(exchange, Side.BEFORE):
            return None
        self.reached = True
        return await self.strike_before(worker)

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None:
        if self._is_it(exchange, Side.AFTER):
            self.reached = True
            await self.strike_after(worker)

    async def over(self, worker: Worker, exchange: Exchange) -> None:
        pass

    async def strike_before(self, worker: Worker) -> Fault | None:
        raise NotImplementedError

    async def strike_after(self, worker: Worker) -> None:
        raise NotImplementedError


class Kill(Strike):
    """SIGKILL. What it had not sent yet never arrives; what it had sent is done."""

    async def strike_before(self, worker: Worker) -> Fault | None:
        worker.send(signal.SIGKILL)
        return Reset()

    async def strike_after(self, worker: Worker) -> None:
        worker.send(signal.SIGKILL)


class Stall(Strike):
    """SIGSTOP; others do what they do; then the call that was held is delivered, or its answer is, and SIGCONT: so what it
    wakes up with is the answer from before, or the answer to a call that came too late."""

    def __init__(self, point: Point, side: Side, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(point, side)
        self._meanwhile = meanwhile

    async def strike_before(self, worker: Worker) -> Fault | None:
        await self.strike_after(worker)
        return None

    async def strike_after(self, worker: Worker) -> None:
        worker.send(signal.SIGSTOP)
        await self._meanwhile()

    async def over(self, worker: Worker, exchange: Exchange) -> None:
        if self.reached and Point.of(exchange) == self.point:
            worker.send(signal.SIGCONT)


class Wire(Strike):
    """The call at this point, and so many more to the same part after it, meet a fault."""

    def __init__(self, point: Point, fault: Callable[[], Fault], times: int = 1) -> None:
        super().__init__(point, Side.BEFORE)
        self._fault = fault
        self._left = times

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None:
        if self.reached:
            if self._left <= 0 or exchange.part != self.point.part:
                return None
            self._left -= 1
            return self._fault()
        return await super().before(worker, exchange)

    async def strike_before(self, worker: Worker) -> Fault | None:
        self._left -= 1
        return self._fault()


class Refuse(Strike):
    """The part is down for a while: its port is closed, and what is connected is reset."""

    def __init__(self, point: Point, side: Side, seconds: float) -> None:
        super().__init__(point, side)
        self._seconds = seconds
        self._later: asyncio.Task[None] | None = None

    async def strike_before(self, worker: Worker) -> Fault | None:
        await self.strike_after(worker)
        return Reset()

    async def strike_after(self, worker: Worker) -> None:
        worker.gate.refuse(self.point.part)
        self._later = asyncio.create_task(self._come_back(worker))

    async def _come_back(self, worker: Worker) -> None:
        await asyncio.sleep(self._seconds)
        await worker.gate.accept(self.point.part)


class Do(Strike):
    """Something is done outside while the call is held."""

    def __init__(self, point: Point, side: Side, what: Callable[[], Awaitable[None]]) -> None:
        super().__init__(point, side)
        self._what = what

    async def strike_before(self, worker: Worker) -> Fault | None:
        await self._what()
        return None

    async def strike_after(self, worker: Worker) -> None:
        await self._what()


class Race:
    """Every call takes a little longer, by chance, so that two workers meet in another order in each run. `start`: where all
    of them wait for one another, when Prefect has written down since when each has been asked for."""

    def __init__(self, chance: Random, start: asyncio.Barrier, most_seconds: float = 0.1) -> None:
        self._chance, self._start, self._most = chance, start, most_seconds

    async def before(self, worker: Worker, exchange: Exchange) -> Fault | None:
        await asyncio.sleep(self._chance.random() * self._most)
        return None

    async def after(self, worker: Worker, exchange: Exchange, status: int) -> None:
        if Point.of(exchange) == ASKED:
            await self._start.wait()
        await asyncio.sleep(self._chance.random() * self._most)

    async def over(self, worker: Worker, exchange: Exchange) -> None:
        pass
