"""What keeps a ring fresh, and where: a task of the program's event loop, or a thread; anew after a fork."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from keyturn.delivery.keyring_background import Background
from keyturn.delivery.keyring_freshness import Freshness
from keyturn.delivery.keyring_refresh import Board, Refresher
from keyturn.delivery.keys import Variable
from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.model import HeldKey

log = logging.getLogger("keyturn.keyring")

Read = Callable[[], Awaitable[HeldKey]]
Sources = Callable[[], AbstractAsyncContextManager[Sequence[Variable]]]
"""Opens the stores, in the event loop that the ring is refreshed in. A child process opens them anew."""
Verb = Callable[[Refresher], Coroutine[Any, Any, Any]]

_CLOSING = 5.0  # seconds that close() waits for the thread
_RESTART = 5.0  # seconds until a refresher that failed as a whole begins anew
_MARGIN = 5.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Time and chance. `clock`: seconds that only grow; `pause`: asyncio.sleep; `chance`: from 0 to 1."""

    clock: Callable[[], float]
    pause: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]


class GoneError(Exception):
    """There is no refresher that could be asked."""


class Engine:
    """Opens the stores, loads, refreshes. Its `state` is new, started or closed."""

    def __init__(self, sources: Sources, freshness: Freshness, start_timeout: float, board: Board, timing: Timing) -> None:
        self._sources, self._freshness, self._start_timeout = sources, freshness, start_timeout
        self._board, self._timing = board, timing
        self.state = "new"
        self._refresher: Refresher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background: Background | None = None
        self._task: asyncio.Task[None] | None = None
        self._beside: list[Future[Any]] = []
        self._of_the_parent: list[Any] = []
        self.in_child: list[Callable[[], object]] = []  # what is to be closed there

    @property
    def running(self) -> bool:
        if self.state != "started":
            return False
        return self._background.alive if self._background is not None else self._task is not None and not self._task.done()

    def start(self) -> None:
        """In a thread. Returns when every key is there; raises the store's error."""
        self._begin()
        loaded: Future[None] = Future()
        self._in_background(loaded)
        try:
            loaded.result()
        except BaseException:
            self.close()
            raise

    async def astart(self) -> None:
        """In the running event loop."""
        self._begin()
        loaded: Future[None] = Future()
        self._task = asyncio.create_task(self._live(loaded))
        try:
            await asyncio.wrap_future(loaded)
        except BaseException:
            await self.aclose()
            raise

    def close(self) -> None:
        self._give_up()
        if self._background is not None:
            self._background.stop(_CLOSING)
        if self._task is not None and self._loop is not None:
            with suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._board.forget()

    async def aclose(self) -> None:
        self._give_up()
        if self._background is not None:
            await asyncio.to_thread(self._background.stop, _CLOSING)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._board.forget()

    def call(self, verb: Verb) -> Any:
        """Have the refresher do it, from another thread than its own. GoneError: nobody does it, or not in time."""
        with suppress(RuntimeError):  # no loop runs in this thread
            if asyncio.get_running_loop() is self._loop:
                raise MisconfiguredError("this would wait for itself", remedy="in the ring's own event loop: arefresh()")
        future = self._handed_over(verb)
        try:
            return future.result(self._freshness.patience.total_seconds() + _MARGIN)
        except (TimeoutError, asyncio.CancelledError):
            future.cancel()
            raise GoneError from None

    async def acall(self, verb: Verb) -> Any:
        """As `call`, from any event loop; without a limit of time."""
        if self._refresher is not None and self.running and asyncio.get_running_loop() is self._loop:
            return await verb(self._refresher)
        return await asyncio.wrap_future(self._handed_over(verb))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it as long as the ring is open. GoneError: it is not."""
        self._beside.append(self.hand_over(work))

    def hand_over(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run it in the refresher's loop. GoneError: there is none."""
        if self._loop is not None and self.running:
            with suppress(RuntimeError):  # closed meanwhile
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise GoneError

    def after_fork(self) -> None:
        """In the child: the thread is not there, and the stores' connections are the parent's."""
        if self.state != "started":
            return
        # Kept, and never touched: to tidy them up would be to act on what the parent uses.
        self._of_the_parent.append((self._background, self._task, self._refresher, self._loop, self._beside))
        self._task = self._refresher = self._loop = None
        self._beside = []
        while self.in_child:
            self.in_child.pop()()
        loaded: Future[None] = Future()
        loaded.set_result(None)
        try:
            self._in_background(loaded)
        except RuntimeError:
            log.error("no thread can be started after the fork: keys are not refreshed here, and go stale")

    def _give_up(self) -> None:
        self.state = "closed"
        for each in self._beside:
            each.cancel()

    def _begin(self) -> None:
        if self.state != "new":
            raise MisconfiguredError(f"this key ring is {self.state} already", remedy="make a new one")
        self.state = "started"

    def _in_background(self, loaded: Future[None]) -> None:
        self._background = Background(lambda: self._live(loaded), "keyturn-keyring")
        self._background.start()

    def _handed_over(self, verb: Verb) -> Future[Any]:
        if self._refresher is None:
            raise GoneError
        return self.hand_over(verb(self._refresher))

    async def _live(self, loaded: Future[None]) -> None:
        """Open the stores, load, keep fresh. Once the keys are loaded no error ends it: it begins anew."""
        while True:
            failure: KeyturnError | None = None
            try:
                async with self._sources() as variables:
                    await self._refresh(variables, loaded)
            except Exception as error:  # what it says may hold a key
                kind = type(error).__name__
                failure = error if isinstance(error, KeyturnError) else None
            except BaseException:
                loaded.cancel()
                raise
            if not loaded.done():
                loaded.set_exception(failure or MisconfiguredError(f"the key ring's stores cannot be opened ({kind})"))
                return
            log.error("the key ring's refresher has failed (%s), and begins anew", kind)
            await self._timing.pause(_RESTART)

    async def _refresh(self, variables: Sequence[Variable], loaded: Future[None]) -> None:
        timing = self._timing
        refresher = Refresher(variables, self._freshness, self._board, timing.clock, timing.pause, timing.chance)
        try:
            await refresher.load(self._start_timeout)
            self._refresher, self._loop = refresher, asyncio.get_running_loop()
            if not loaded.done():
                loaded.set_result(None)
            await refresher.run()
        finally:
            refresher.stop()


def given(keys: Mapping[str, Read]) -> Sources:
    """Readers of the program's own, as sources."""
    variables = [Variable(credential=name, name=name, read=read) for name, read in keys.items()]

    @asynccontextmanager
    async def sources() -> AsyncIterator[Sequence[Variable]]:
        yield variables

    return sources
