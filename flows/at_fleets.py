"""The turns of runs at a fleet. Who rolls it is alone, for others would see its members' restarts as faults. Who only asks
its members may be there beside others.

Other machines are kept away by one turn for each fleet (flows.turnstile), which the runs of this process have together.
Several fleets are taken in one order by all, and after the credential's own turn, so that no two runs wait for each other.
"""

import time
from asyncio import Event, Lock, timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from weakref import WeakValueDictionary

from flows.turnstile import is_wanted_here, one_at_a_time, path_of

SHARED_SECONDS = 10.0  # for so long others may join those who are there; then whoever waits comes first
LOOKS = 2  # the second roll began after all who wait had come: whom it has not moved, none does but their own
COMPANY_SECONDS = 5.0  # less than most rolls take: whoever comes later is rolled after them


def _turn(fleet: str) -> str:
    """The name under which it is taken."""
    return f"fleet.{fleet}"


class _Place:
    """At one fleet, for one run alone or for several beside each other, behind one turn that is taken once."""

    def __init__(self, fleet: str, *, alone: bool) -> None:
        self.turn, self.alone = _turn(fleet), alone
        self._inside, self._since = 0, 0.0
        self._opening, self._held = Lock(), AsyncExitStack()
        self._open = False

    def may_be_joined(self) -> bool:
        """By whoever finds it among the shared ones: while it is waited for, and for some time after that."""
        return not self._open or (not is_wanted_here(self.turn) and time.monotonic() - self._since < SHARED_SECONDS)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Whoever comes first takes the turn, and whoever leaves last gives it back."""
        self._inside += 1
        try:
            async with self._opening:
                if not self._open:
                    await self._held.enter_async_context(one_at_a_time(self.turn))
                    self._open, self._since = True, time.monotonic()
            yield
        finally:
            self._inside -= 1
            if not self._inside and self._open:
                self._open = False
                held, self._held = self._held, AsyncExitStack()
                await held.aclose()

    def share(self) -> None:
        if self.alone:
            self.alone, self._since = False, time.monotonic()
            _shared[path_of(self.turn)] = self


_shared: WeakValueDictionary[Path, _Place] = WeakValueDictionary()


def _beside_others(fleet: str) -> _Place:
    path = path_of(_turn(fleet))
    place = _shared.get(path)
    if place is None or not place.may_be_joined():
        place = _shared[path] = _Place(fleet, alone=False)
    return place


class AtFleets:
    """Of one run. `alone`: nobody else is at any of them, so members may be rolled. `shared`: what is called by `share`."""

    def __init__(self, places: Collection[_Place]) -> None:
        self._places = places
        self.shared = list[Callable[[], None]]()

    @property
    def alone(self) -> bool:
        return all(place.alone for place in self._places)

    def share(self) -> None:
        """No member is rolled any more: whoever does not roll either may come in."""
        for place in self._places:
            place.share()
        for told in self.shared:
            told()


_rolling: dict[tuple[Path, ...], Event] = {}
"""Who rolls these fleets, of those of this process that came by `alone_unless`: set when the others may look."""


@asynccontextmanager
async def alone_on(fleets: Iterable[str]) -> AsyncIterator[AtFleets]:
    """Wait until no other run is at these fleets."""
    async with _at([(fleet, lambda fleet: _Place(fleet, alone=True)) for fleet in fleets]) as at:
        yield at


@asynccontextmanager
async def beside_others_on(fleets: Iterable[str]) -> AsyncIterator[AtFleets]:
    """Wait until no other run rolls these fleets; until it is left, none does."""
    async with _at([(fleet, _beside_others) for fleet in fleets]) as at:
        yield at


@asynccontextmanager
async def alone_unless(fleets: Collection[str], is_rolled: Callable[[], Awaitable[bool]]) -> AsyncIterator[AtFleets]:
    """As `alone_on`; but where it had to be waited for, and whoever was there has rolled what was to be rolled, beside
    others. A member that falls back in that moment is rolled beside them all the same."""
    paths = tuple(sorted(path_of(_turn(fleet)) for fleet in fleets))
    for _ in range(LOOKS):
        if paths not in _rolling and not any(is_wanted_here(_turn(fleet), or_held=True) for fleet in fleets):
            break
        if paths in _rolling:
            await _rolling[paths].wait()
        async with beside_others_on(fleets) as at:
            if await is_rolled():
                yield at
                return
        if paths not in _rolling:
            break  # of those who were there, this one rolls, and the others wait for it
    done = Event()
    _rolling.setdefault(paths, done)

    def let_others_look() -> None:
        if _rolling.get(paths) is done:
            del _rolling[paths]
        done.set()

    try:
        async with alone_on(fleets) as at:
            at.shared.append(let_others_look)
            yield at
    finally:
        let_others_look()


@asynccontextmanager
async def _at(wanted: Collection[tuple[str, Callable[[str], _Place]]]) -> AsyncIterator[AtFleets]:
    places = list[_Place]()
    async with AsyncExitStack() as stack:
        for fleet, place_at in sorted(wanted, key=lambda each: each[0]):
            places.append(place_at(fleet))
            await stack.enter_async_context(places[-1].entered())
        yield AtFleets(places)


class _Company:
    """`fleets`: of each credential that is on its way."""

    def __init__(self, fleets: Mapping[str, Collection[str]]) -> None:
        self._on_their_way = dict(fleets)
        self._all_there = {fleet: Event() for each in fleets.values() for fleet in each}

    def arrived(self, credential: str) -> None:
        self._on_their_way.pop(credential, None)
        awaited = {fleet for each in self._on_their_way.values() for fleet in each}
        for fleet, event in self._all_there.items():
            if fleet not in awaited:
                event.set()

    async def all_at(self, fleets: Iterable[str]) -> None:
        for fleet in fleets:
            if fleet in self._all_there:
                await self._all_there[fleet].wait()


_company: ContextVar[_Company | None] = ContextVar("_company", default=None)


@contextmanager
def in_company(fleets: Mapping[str, Collection[str]]) -> Iterator[None]:
    """Of the runs within, each of one of these credentials, who comes to a fleet first waits a moment for the others: one
    roll moves them all. `fleets`: of each credential."""
    token = _company.set(_Company(fleets))
    try:
        yield
    finally:
        _company.reset(token)


@contextmanager
def one_of_the_company(credential: str) -> Iterator[None]:
    """When this is left, whether well or not, nobody waits for this credential any more."""
    try:
        yield
    finally:
        if (company := _company.get()) is not None:
            company.arrived(credential)


async def company_of(credential: str, fleets: Iterable[str]) -> None:
    """Wait until all others of the company are at these fleets, or will not come; never for long."""
    if (company := _company.get()) is not None:
        company.arrived(credential)
        with suppress(TimeoutError):
            async with timeout(COMPANY_SECONDS):
                await company.all_at(fleets)
