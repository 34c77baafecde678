"""Asking Prefect's server: whatever its client stumbles over, when the answer is not Prefect's, is an error of ours."""

from asyncio import AbstractEventLoop, Semaphore, get_running_loop, timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar
from weakref import WeakKeyDictionary

from prefect.client.orchestration import PrefectClient, get_client

from keyturn.errors import KeyturnError, UnavailableError


@contextmanager
def asking_prefect() -> Iterator[None]:
    """UnavailableError, with the type of what was raised and without its text; TimeoutError as it is."""
    try:
        yield
    except (KeyturnError, TimeoutError):
        raise
    except Exception as error:
        raise UnavailableError(
            f"Prefect's API does not do what it was asked ({type(error).__name__})",
            remedy="look at its server, and at what stands between; then run this again",
        ) from None


_BEHIND_OTHERS_SECONDS = 0.5
_WIDEST = 4  # of a run of many
_SLOW_SECONDS = 1.0  # by then Prefect's client has been answered 503, and waits
_NARROW_SECONDS = 60.0

T = TypeVar("T")


_several: ContextVar[bool] = ContextVar("_several", default=False)


@contextmanager
def several_at_once() -> Iterator[None]:
    """Within, calls that change something may go side by side: of a run of many, whose server is to be on PostgreSQL. Not
    for incidents: twenty at once on SQLite took 115 s with it, and 71 without (measured once each)."""
    token = _several.set(True)
    try:
        yield
    finally:
        _several.reset(token)


class _Gate:
    """How many calls of one event loop are at the server at once: one, unless there may be several; then more while they are
    answered in time and others wait, and one again after one that was not."""

    def __init__(self) -> None:
        self._places, self._width, self._to_take_back = Semaphore(1), 1, 0
        self._waiting, self._narrow_until = 0, 0.0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Whoever waits for long goes through all the same."""
        mine = False
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with timeout(_BEHIND_OTHERS_SECONDS):
                    mine = await self._places.acquire()
        finally:
            self._waiting -= 1
        begun = monotonic()
        try:
            yield
        finally:
            self._learn(monotonic() - begun)
            if mine:
                self._give_back()

    def _learn(self, seconds: float) -> None:
        now = monotonic()
        if seconds > _SLOW_SECONDS:
            self._narrow_until = now + _NARROW_SECONDS
            self._to_take_back += self._width - 1
            self._width = 1
        elif _several.get() and self._waiting and self._width < _WIDEST and now >= self._narrow_until:
            self._width += 1
            self._give_back()

    def _give_back(self) -> None:
        if self._to_take_back:
            self._to_take_back -= 1
        else:
            self._places.release()


_gates: WeakKeyDictionary[AbstractEventLoop, _Gate] = WeakKeyDictionary()


async def in_turn(call: Callable[[PrefectClient], Awaitable[T]]) -> T:
    """What this call answers, which changes something: one after the other in this process, unless one hangs.

    A server on SQLite answers 503 to most of twenty that write at once, and may then answer nobody for a minute. Its client
    comes back after two seconds, then four: for that nobody waits. One on PostgreSQL answers them side by side, but which
    of the two it is, it tells no client.
    """
    async with _gates.setdefault(get_running_loop(), _Gate()).passed(), get_client() as client:
        return await call(client)
