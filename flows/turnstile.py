"""One run at a time for each credential: a courtesy that spares work. The guard is the store's compare-and-swap.

On one machine a file lock decides, which the system drops the moment its holder dies. Between machines it is a Prefect
concurrency slot, which is a lease: after a hard crash it stays held for a minute or so.

Prefect's server keeps leases in its memory and slots in its database (unless it is told otherwise: docs/compose.md). One
that dies forgets who holds a slot, and counts it as held for ever. So a run goes on when its lease is lost, and a slot of
which nobody has heard for an hour is freed.

Of several runs in one process one hands its turn on to the next, for a moment at most: then somebody else may have it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TextIO
from weakref import WeakValueDictionary

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings

from flows.asking import asking_prefect, in_turn
from flows.lease import LEASE_SECONDS, NoLimitError, giving_back, leased
from flows.shared_lease import place_of, rests
from keyturn import environments
from keyturn.file_lock import try_lock

WAIT_SECONDS = 3600
POLL_SECONDS = 0.5
KEPT_SECONDS = 2.0  # among the runs of one process


class _Turn:
    """Of one name, for the runs of this process: one of them at a time, and what they hold for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.held: AsyncExitStack | None = None
        self.since = 0.0

    async def give_back(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            await held.aclose()


_turns: WeakValueDictionary[Path, _Turn] = WeakValueDictionary()


@asynccontextmanager
async def one_at_a_time(name: str, *, many: bool = False) -> AsyncIterator[None]:
    """Wait until no other run works under this name, a credential's. After an hour its slot is freed, once. `many`: it is
    one of many runs of this process, which have their slots together."""
    turn = _turns.setdefault(path_of(name), _Turn())
    turn.waiting += 1
    try:
        await turn.lock.acquire()
    except asyncio.CancelledError:
        if turn.waiting == 1 and not turn.lock.locked():  # it was handed on to this one, and to nobody else
            await turn.give_back()
        raise
    finally:
        turn.waiting -= 1
    try:
        if turn.held is None:
            turn.held, turn.since = await _taken(name, many), time.monotonic()
        try:
            yield
        finally:
            if not turn.waiting or time.monotonic() - turn.since > KEPT_SECONDS:
                await turn.give_back()
    finally:
        turn.lock.release()


async def _taken(name: str, many: bool) -> AsyncExitStack:
    """From all others of this machine, and then from other machines."""
    slot = _slot(name)
    async with AsyncExitStack() as stack:
        file = stack.enter_context(_opened(name))
        # Whoever waits for the file holds the one before it: a process that comes back at once is behind them.
        with _opened(f"{name}.next") as before:
            await _lock(before)
            await _lock(file)
        died = bool(_text(file))
        if died:
            # A mark left behind says that a run of this machine died holding the slot. It holds the file no longer, so it
            # is dead for sure: its lease goes with the limit, instead of being waited for.
            get_run_logger().info("an earlier run of this machine died holding the slot: it is freed")
            await made(slot, freed=True)
        # Also after a failure: the mark is for the dead. Taken for one, the slot is freed under another machine.
        stack.callback(_write, file, "")
        try:
            await _enter(stack, slot, many)
        except TimeoutError:
            get_run_logger().warning("nobody has released the slot for an hour: it is freed")
            await made(slot, freed=True)
            await _enter(stack, slot, many)
        _write(file, "held")
        return stack.pop_all()


async def _enter(stack: AsyncExitStack, slot: str, many: bool) -> None:
    """It is made where it is not there: to ask for that first would be one more call for each credential."""
    try:
        await _place(stack, slot, many)
    except NoLimitError:
        with asking_prefect(), suppress(ObjectAlreadyExists):  # made by another machine in this moment
            limit = GlobalConcurrencyLimitCreate(name=slot, limit=1)
            await in_turn(lambda client: client.create_global_concurrency_limit(limit))
        await _place(stack, slot, many)


async def _place(stack: AsyncExitStack, slot: str, many: bool) -> None:
    if many and (shared := await place_of(slot)) is not None:
        stack.push_async_callback(shared.leave, slot)
    else:
        await stack.enter_async_context(held(slot))


def is_wanted_here(name: str, *, or_held: bool = False) -> bool:
    """Whether a run of this process waits for this name; `or_held`: or works under it."""
    turn = _turns.get(path_of(name))
    return turn is not None and (turn.waiting > 0 or (or_held and turn.lock.locked()))


async def is_taken(name: str) -> bool:
    """Whether somebody works under this name right now. By the time of the answer they may be done."""
    with _opened(name) as file:
        if not try_lock(file.fileno()):
            return True
        if _text(file):
            return False  # the dead of this machine: see `one_at_a_time`
    with asking_prefect():
        async with get_client() as client:
            try:
                limit = await client.read_global_concurrency_limit_by_name(_slot(name))
            except ObjectNotFound:
                return False
            if limit.active_slots and limit.updated and datetime.now(UTC) - limit.updated > timedelta(seconds=WAIT_SECONDS):
                await _free(client, _slot(name))
                return False
            return limit.active_slots > 0 and not rests(_slot(name))


@asynccontextmanager
async def held(slot: str) -> AsyncIterator[None]:
    """TimeoutError when it was waited for in vain, NoLimitError when there is none. That it cannot be given back is no
    failure of the run: its lease goes."""
    async with AsyncExitStack() as stack:
        with asking_prefect():
            await stack.enter_async_context(leased(slot, seconds=LEASE_SECONDS, wait=WAIT_SECONDS))
        try:
            yield
        finally:
            with giving_back("the slot was not given back, and is free when its lease is over"):
                await stack.aclose()


async def made(slot: str, *, freed: bool, limit: int = 1, pace: float | None = None) -> None:
    """Have this slot, for `limit` at a time, and if `freed` with nobody in it. `pace`: places that come back by
    themselves, in a second."""
    with asking_prefect():
        if freed:
            await in_turn(lambda client: _free(client, slot))
        # Prefect's client looks, and then makes it: of two machines at once, one finds that it is there.
        with suppress(ObjectAlreadyExists):
            await in_turn(
                lambda client: client.upsert_global_concurrency_limit_by_name(slot, limit, slot_decay_per_second=pace)
            )


async def _free(client: PrefectClient, slot: str) -> None:
    """Whoever holds it: its lease goes with the limit."""
    with suppress(ObjectNotFound):
        await client.delete_global_concurrency_limit_by_name(slot)


def path_of(name: str) -> Path:
    """Of the lock that the runs of this machine have for a name."""
    return _lock_path(get_current_settings().home, environments.named(), name)


@lru_cache(maxsize=4096)
def _lock_path(home: Path, environment: str, name: str) -> Path:
    return Path(home) / "keyturn" / environment / f"{name}.lock"


def _opened(name: str) -> TextIO:
    path = path_of(name)
    try:
        return path.open("a+")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")


def _slot(name: str) -> str:
    return environments.scoped(environments.named(), name)


async def _lock(file: TextIO) -> None:
    while not try_lock(file.fileno()):  # noqa: ASYNC110  # another process's lock
        await asyncio.sleep(POLL_SECONDS)


def _text(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
