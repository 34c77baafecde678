"""Keeping the keys of a ring fresh: one task for each key, so that a slow store holds up no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Protocol

from keyturn.delivery.keyring_figures import Figures
from keyturn.delivery.keyring_freshness import Entry, Freshness
from keyturn.delivery.keys import Variable
from keyturn.errors import (
    ConflictError,
    DeniedError,
    IndeterminateError,
    KeyturnError,
    MisconfiguredError,
    PermanentError,
    RetryableError,
    ThrottledError,
    UnavailableError,
)
from keyturn.model import HeldKey

log = logging.getLogger("keyturn.keyring")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds, between tries while nothing is loaded yet
_BURST = 1.0  # seconds until the first retry of a read that failed
_READS = 3  # a store may lag behind its own promote: a replica in another region, a standby node


class Board(Protocol):
    """Where the keys are put up. Called in the refresher's loop alone."""

    def known(self, variable: Variable) -> Entry | None:
        """The key as it was put up before, by an earlier refresher."""
        ...

    def figures(self, name: str) -> Figures: ...

    def confirmed(self, name: str, entry: Entry, news: bool) -> None:
        """`news`: it is another key than before, or one that was given out no more."""
        ...

    def went_stale(self, name: str) -> None: ...

    def forget(self) -> None:
        """Every key: the ring is closed."""
        ...


class _Key:
    """One key, and how its reads went."""

    def __init__(self, variable: Variable, board: Board, now: float) -> None:
        self.variable, self.figures, self.entry = variable, board.figures(variable.name), board.known(variable)
        self.name = variable.name
        self.began = -inf
        self.reading: asyncio.Task[bool] | None = None
        self.failure: KeyturnError | None = None
        self.in_a_row = 0
        self.warned = -inf
        self.deaf = ""  # why its store does not tell of changes, as it was told last
        self.told_stale = self.entry is not None and now > self.entry.limit


class Refresher:
    """`clock`: seconds that only grow. `pause`: asyncio.sleep. `chance`: from 0 to 1, for jitter. Tests bring their own."""

    def __init__(
        self,
        variables: Sequence[Variable],
        freshness: Freshness,
        board: Board,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
    ) -> None:
        self._keys = {each.name: _Key(each, board, clock()) for each in variables}
        self._freshness = freshness
        self._board = board
        self._clock, self._pause, self._chance = clock, pause, chance

    async def load(self, limit: float) -> None:
        """Read every key that is not known yet. While a store is unavailable it is asked again, up to `limit` seconds.

        Raises the store's error when it is of another kind, or when the time is over.
        """
        deadline = self._clock() + limit
        tasks = [asyncio.create_task(self._first(key, deadline)) for key in self._keys.values() if key.entry is None]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def run(self) -> None:
        """Keep every key fresh, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for key in self._keys.values():
                group.create_task(self._keep(key))

    def stop(self) -> None:
        """Give up what is being read."""
        for key in self._keys.values():
            if key.reading is not None:
                key.reading.cancel()

    async def refresh(self) -> bool:
        """Have every key confirmed by its store now; whether all are. The errors are told in the log.

        Whoever comes while a key is being read shares that read, and a read that began less than `floor` ago is not
        repeated: its outcome counts.
        """
        return all(await asyncio.gather(*(self._refreshed(key) for key in self._keys.values())))

    async def expect(self, name: str, fingerprint: str) -> None:
        """Have this key be the value of this fingerprint, which the store has to say is CURRENT.

        ConflictError: the store says another one. Errors of the store as they are. In each case the key is what the store
        said last.
        """
        key = self._keys[name]
        for attempt in range(_READS):
            if attempt:
                await self._pause(1)
            if key.reading is not None and not key.reading.done():
                await asyncio.shield(key.reading)  # it may have begun before the promote
            if not await asyncio.shield(self._reading(key)) and key.failure is not None:
                raise key.failure
            if key.entry is not None and key.entry.version.fingerprint == fingerprint:
                return
        raise ConflictError(
            f"the store's current value of {name} is not the one to roll onto",
            remedy="look whether this program reads the same secret, or whether the key has turned again",
        )

    async def _first(self, key: _Key, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while not await self._reading(key):
            failure = key.failure
            if failure is not None and (not _passes(failure) or self._clock() + pause > deadline):
                raise failure
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _keep(self, key: _Key) -> None:
        while True:
            await self._wait(key, self._rest(key))
            if key.entry is None or key.failure is not None or self._clock() >= key.entry.due:
                await asyncio.shield(self._reading(key))

    def _rest(self, key: _Key) -> float:
        """Seconds until the next read: the interval; sooner, and later and later, after an error that may pass.

        A token is looked at as often, and read when it is due: a machine that slept finds it so soon afterwards.
        """
        interval = self._freshness.interval.total_seconds()
        rest, failure = interval, key.failure
        if failure is not None and _passes(failure):
            rest = min(interval, _BURST * 2 ** min(key.in_a_row - 1, 20))
            if isinstance(failure, ThrottledError) and failure.retry_after is not None:
                rest = max(rest, failure.retry_after)
        rest *= 1 + self._freshness.jitter * (2 * self._chance() - 1)
        if key.failure is None and key.entry is not None and key.entry.ends is not None:
            rest = min(rest, key.entry.due - self._clock())
        if key.failure is not None and key.entry is not None and not key.told_stale:
            rest = min(rest, key.entry.limit - self._clock())  # so that the end of its time is told in time
        return max(rest, self._floor)

    async def _wait(self, key: _Key, seconds: float) -> None:
        """Until the time is over, or the store tells of a change."""
        changed, entry = key.variable.changed, key.entry
        # Who may not read has no use for news, and would read at once, be refused, and listen again.
        if changed is None or entry is None or isinstance(key.failure, DeniedError):
            await self._pause(seconds)
            return
        over = asyncio.ensure_future(self._pause(seconds))
        told = asyncio.ensure_future(changed(entry.version))
        try:
            await asyncio.wait({over, told}, return_when=asyncio.FIRST_COMPLETED)
            error = told.exception() if told.done() and not told.cancelled() else None
            self._heard(key, error)
            if error is not None:
                await over
        finally:
            for task in (over, told):
                task.cancel()
            await asyncio.gather(over, told, return_exceptions=True)
        if (early := key.began + self._floor - self._clock()) > 0:
            await self._pause(early)

    def _heard(self, key: _Key, error: BaseException | None) -> None:
        """How listening to its store went. That it does not tell is told once, until it does again, or says another why."""
        before, key.deaf = key.deaf, "" if error is None else type(error).__name__
        if error is not None and key.deaf != before:
            why = error if isinstance(error, KeyturnError) else key.deaf  # what others say may hold the key
            interval = self._freshness.interval.total_seconds()
            log.warning("%s: its store does not tell of changes, so it is asked every %g s: %s", key.name, interval, why)

    @property
    def _floor(self) -> float:
        return self._freshness.floor.total_seconds()

    async def _refreshed(self, key: _Key) -> bool:
        idle = key.reading is None or key.reading.done()
        if idle and self._clock() - key.began < self._floor:
            return key.failure is None
        return await asyncio.shield(self._reading(key))

    def _reading(self, key: _Key) -> asyncio.Task[bool]:
        """The read that is under way, or a new one; whether it went well. It raises nothing."""
        if key.reading is None or key.reading.done():
            key.reading = asyncio.create_task(self._read(key))
        return key.reading

    async def _read(self, key: _Key) -> bool:
        key.began = began = self._clock()
        found = await self._answer(key)
        if isinstance(found, KeyturnError):
            self._failed(key, found)
            return False
        swapped = key.entry is not None and key.entry.version != found.version
        again = key.failure is not None and key.entry is not None
        news = swapped or key.told_stale
        entry = Entry.of(found, began, self._freshness, self._chance())
        key.entry, key.failure, key.in_a_row, key.told_stale = entry, None, 0, False
        key.figures.refreshes += 1
        key.figures.swaps += swapped
        key.figures.last_error = ""
        if again:
            log.info("%s is confirmed by its store again", key.name)
        if swapped:
            log.info("%s has turned: it is %s now", key.name, found.version.fingerprint)
        self._board.confirmed(key.name, key.entry, news)
        return True

    async def _answer(self, key: _Key) -> HeldKey | KeyturnError:
        """What the store says, or why it does not, as a value."""
        seconds = self._freshness.patience.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await key.variable.read()
        except KeyturnError as error:
            return error.with_traceback(None)  # its frames hold what was read
        except TimeoutError:
            return UnavailableError(f"the store of {key.name} did not answer within {seconds:g} s")
        except Exception as error:  # a reader of the program's own; what it says may hold the key
            kind = type(error).__name__
        return MisconfiguredError(
            f"reading {key.name} fails with {kind}", remedy="look at the reader that the ring was given"
        )

    def _failed(self, key: _Key, failure: KeyturnError) -> None:
        before, key.failure = key.failure, failure
        key.in_a_row += 1
        key.figures.failures += 1
        key.figures.last_error = type(failure).__name__
        if key.entry is None:
            log.warning("%s cannot be read: %s", key.name, failure)
            return
        now = self._clock()
        if type(before) is not type(failure):
            level = logging.ERROR if isinstance(failure, PermanentError) else logging.WARNING
            log.log(level, "%s cannot be read, its key is kept: %s", key.name, failure)
        age = now - key.entry.confirmed
        soft = self._freshness.warn_after.total_seconds()
        if age >= soft and now - key.warned >= soft:
            key.warned = now
            if key.entry.ends is not None:
                log.warning("%s is given out for another %.0f s: %s", key.name, max(key.entry.limit - now, 0), failure)
            else:
                log.warning("%s was last confirmed by its store %.0f s ago: %s", key.name, age, failure)
        if now > key.entry.limit and not key.told_stale:
            key.told_stale = True
            why = "it has ended" if key.entry.ends is not None else f"its store has not confirmed it for {age:.0f} s"
            log.error("%s is given out no more: %s", key.name, why)
            self._board.went_stale(key.name)


def _passes(failure: KeyturnError) -> bool:
    return isinstance(failure, RetryableError | IndeterminateError)
