"""Places of Prefect's concurrency limits: held by a lease, which is renewed until it is given back.

Prefect's own `concurrency` (3.8.8) opens two clients and a thread for each limit, and keeps one of the clients until the
process ends: with a thousand credentials these are a thousand. This asks the client that the run has open anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.logging import get_run_logger

from flows.asking import asking_prefect, in_turn
from keyturn.errors import UnavailableError

LEASE_SECONDS = 60  # the server's shortest
_RENEWED_AFTER = 0.5  # of the lease: the other half is for a server that does not answer
_AGAIN_SECONDS = 5.0


class NoLimitError(UnavailableError):
    """There is no limit of this name: it was never made, or removed."""


class NotNowError(UnavailableError):
    """Nothing was granted. `later`: in so many seconds it is worth asking again."""

    def __init__(self, later: float) -> None:
        super().__init__("a place is taken, or the database of Prefect's server is locked")
        self.later = later


class Lease:
    """One place of each of `slots`, of this run, until they are given back: all together. That it cannot be renewed stops
    nobody: it is lost."""

    def __init__(self, lease: UUID, slots: Sequence[str], seconds: float) -> None:
        self.slots = frozenset(slots)
        self._lease = lease
        self._renewing = asyncio.create_task(_renewed(lease, seconds))

    async def give_back(self) -> None:
        """Raises whatever Prefect's client does."""
        self._renewing.cancel()
        await in_turn(lambda client: client.release_concurrency_slots_with_lease(self._lease))


@contextmanager
def giving_back(told: str) -> Iterator[None]:
    """That it cannot be done is no failure of a run, for the lease goes: it is `told` as a warning, with the reason."""
    try:
        with asking_prefect():
            yield
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("%s: %s", told, error)


async def at_once(slots: Sequence[str], seconds: float) -> Lease:
    """A place of each, or NotNowError; of those that have no limit there is none in the lease, NoLimitError where none has.
    `seconds`: of the lease, at least 60; whoever is killed holds it so long. Raises whatever Prefect's client does."""
    try:
        answer = await in_turn(
            lambda client: client.increment_concurrency_slots_with_lease(
                names=list(slots), slots=1, mode="concurrency", lease_duration=seconds
            )
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (HTTPStatus.LOCKED, HTTPStatus.SERVICE_UNAVAILABLE):
            raise
        # 503: its database is locked, as SQLite's is while a thousand tasks are written down. Nothing was granted.
        later = float(error.response.headers.get("Retry-After", _AGAIN_SECONDS))
    else:
        granted = ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())
        if not granted.limits:
            raise NoLimitError("Prefect has no such concurrency limit")
        return Lease(granted.lease_id, [limit.name for limit in granted.limits], seconds)
    raise NotNowError(later)


@asynccontextmanager
async def leased(slot: str, *, seconds: float, wait: float) -> AsyncIterator[None]:
    """Wait for a place, and have it until the end. TimeoutError after `wait` seconds; else as `at_once`. A lease that is
    granted to whoever is cancelled in that moment ends by itself."""
    async with asyncio.timeout(wait):
        lease = await _waited_for(slot, seconds)
    try:
        yield
    finally:
        await lease.give_back()


async def _waited_for(slot: str, seconds: float) -> Lease:
    while True:
        try:
            return await at_once([slot], seconds)
        except NotNowError as error:
            later = error.later
        await asyncio.sleep(later)


async def _renewed(lease: UUID, seconds: float) -> None:
    """Until it is cancelled, or the server knows no such lease any more."""
    pause = seconds * _RENEWED_AFTER
    while True:
        await asyncio.sleep(pause)
        pause = seconds * _RENEWED_AFTER
        try:
            await in_turn(lambda client: client.renew_concurrency_lease(lease, seconds))
        except Exception as error:
            get_run_logger().warning("the lease of a slot is not renewed (%s)", type(error).__name__)
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                return
            pause = _AGAIN_SECONDS
