"""The places that many runs of one process have at Prefect, behind few leases: a call for each would take longer than its
rotation.

Whoever asks while others do is asked for in one call with them, and whoever ends last gives the lease back. What those have
left who ended before is given back by its name, when others have been at work for a moment longer. The lease still counts
it: at its end Prefect takes the place from whoever has it by then. That is another machine, in a moment in which a third one
would have to come to be let in beside it: they are kept apart by the store, as always. A fleet, where none would keep them
apart, is taken by a lease of its own.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import islice
from weakref import WeakKeyDictionary, WeakValueDictionary

from flows.asking import asking_prefect, in_turn
from flows.lease import LEASE_SECONDS, Lease, NoLimitError, at_once, giving_back
from keyturn.errors import KeyturnError

MOST = 100  # in one call
LEFT_SECONDS = 5.0  # for so long others wait for who has ended
_NOT_GIVEN_BACK = "slots were not given back, and are free when their lease is over"


class Shared:
    """A lease, and who has a place by it."""

    def __init__(self, lease: Lease) -> None:
        self._lease, self._since = lease, time.monotonic()
        self._at_work, self._left = set(lease.slots), set[str]()
        self._nobody = asyncio.Event()
        self._later: asyncio.Task[None] | None = None

    def rests(self, slot: str) -> bool:
        """It is held, and nobody works behind it."""
        return slot in self._left

    def take_up(self, slot: str) -> None:
        """One that rests."""
        self._left.remove(slot)
        self._at_work.add(slot)

    async def leave(self, slot: str) -> None:
        """That it cannot be given back is no failure of the run: the lease goes."""
        self._at_work.remove(slot)
        if self._at_work:
            self._left.add(slot)
            self._later = self._later or asyncio.create_task(self._give_back_what_rests())
            return
        self._left.clear()
        self._nobody.set()
        try:
            if self._later is not None:
                await asyncio.wait([self._later])  # after the lease, a place that it gives back would be another's
        finally:
            with giving_back(_NOT_GIVEN_BACK):
                await self._lease.give_back()

    async def _give_back_what_rests(self) -> None:
        while not self._nobody.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LEFT_SECONDS):
                    await self._nobody.wait()
            if self._left:
                await self._give_back(sorted(self._left))

    async def _give_back(self, names: list[str]) -> None:
        self._left.clear()
        held = time.monotonic() - self._since
        with giving_back(_NOT_GIVEN_BACK):
            await in_turn(lambda client: client.release_concurrency_slots(names, 1, held))


class _Desk:
    """Where the runs of one event loop ask. `_shared`: the lease that a slot was granted in last."""

    def __init__(self) -> None:
        self._wanted: dict[str, asyncio.Future[Shared | None]] = {}
        self._shared = WeakValueDictionary[str, Shared]()
        self._asking: asyncio.Task[None] | None = None

    def resting(self, slot: str) -> Shared | None:
        shared = self._shared.get(slot)
        return shared if shared is not None and shared.rests(slot) else None

    async def place(self, slot: str) -> Shared | None:
        if (shared := self.resting(slot)) is not None:
            shared.take_up(slot)
            return shared
        answer: asyncio.Future[Shared | None] = asyncio.get_running_loop().create_future()
        self._wanted[slot] = answer
        self._asking = self._asking or asyncio.create_task(self._ask())
        try:
            return await answer
        except asyncio.CancelledError:
            self._wanted.pop(slot, None)
            if answer.done() and not answer.cancelled() and not answer.exception() and (shared := answer.result()):
                await shared.leave(slot)
            raise

    async def _ask(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever comes in the same moment is asked for in the same call
            while self._wanted:
                batch = dict(islice(self._wanted.items(), MOST))
                for slot in batch:
                    del self._wanted[slot]
                try:
                    await self._ask_for(batch)
                finally:
                    for answer in batch.values():
                        answer.cancel()  # of those that are not answered: this was cancelled
        finally:
            self._asking = None

    async def _ask_for(self, batch: Mapping[str, asyncio.Future[Shared | None]]) -> None:
        shared: Shared | None = None
        there: Collection[str] = batch  # those that have a limit
        try:
            with asking_prefect():
                lease = await at_once(list(batch), LEASE_SECONDS)
        except NoLimitError:
            there = ()
        except (KeyturnError, TimeoutError):
            pass  # one of them is taken, or Prefect cannot say: each asks for itself, and waits
        else:
            shared, there = Shared(lease), lease.slots
            self._shared.update(dict.fromkeys(there, shared))
        for slot, answer in batch.items():
            if answer.done():  # whoever asked is gone
                if shared is not None and slot in there:
                    await shared.leave(slot)
            elif slot in there:
                answer.set_result(shared)
            else:
                answer.set_exception(NoLimitError("Prefect has no such concurrency limit"))


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Desk] = WeakKeyDictionary()


def _desk() -> _Desk:
    return _desks.setdefault(asyncio.get_running_loop(), _Desk())


async def place_of(slot: str) -> Shared | None:
    """A place in a lease that others share: `leave` it in the end. None: ask for one alone. NoLimitError where there is no
    limit. A slot has at most one run of this process at a time (flows.turnstile)."""
    return await _desk().place(slot)


def rests(slot: str) -> bool:
    """Whether this process holds the slot and nobody works behind it: whoever asks gets it at once."""
    return _desk().resting(slot) is not None
