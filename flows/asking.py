"""Asking Prefect's server: whatever its client stumbles over, when the answer is not Prefect's, is an error of ours."""

from asyncio import AbstractEventLoop, Lock, get_running_loop, timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
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


_BEHIND_ANOTHER_SECONDS = 0.5
_locks: WeakKeyDictionary[AbstractEventLoop, Lock] = WeakKeyDictionary()

T = TypeVar("T")


async def in_turn(call: Callable[[PrefectClient], Awaitable[T]]) -> T:
    """What this call answers, which changes something: one after the other in this process, unless the one before hangs.

    A server on SQLite answers 503 to most of twenty that write at once, and may then answer nobody for a minute. Its client
    comes back after two seconds, then four: for that nobody waits.
    """
    async with _behind(_locks.setdefault(get_running_loop(), Lock())), get_client() as client:
        return await call(client)


@asynccontextmanager
async def _behind(lock: Lock) -> AsyncIterator[None]:
    mine = False
    with suppress(TimeoutError):
        async with timeout(_BEHIND_ANOTHER_SECONDS):
            mine = await lock.acquire()
    try:
        yield
    finally:
        if mine:
            lock.release()
