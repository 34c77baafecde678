"""A place of one of Prefect's concurrency limits: held by a lease, which is renewed until it is given back.

Prefect's own `concurrency` (3.8.8) opens two clients and a thread for each limit, and keeps one of the clients until the
process ends: with a thousand credentials these are a thousand. This asks the client that the run has open anyway.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.logging import get_run_logger

from flows.asking import in_turn
from keyturn.errors import UnavailableError

_RENEWED_AFTER = 0.5  # of the lease: the other half is for a server that does not answer
_AGAIN_SECONDS = 5.0


class NoLimitError(UnavailableError):
    """There is no limit of this name: it was never made, or removed."""


@asynccontextmanager
async def leased(slot: str, *, seconds: float, wait: float) -> AsyncIterator[None]:
    """Wait for a place, and have it until the end. `seconds`: of the lease, at least 60; whoever is killed holds it so long.

    TimeoutError after `wait` seconds, NoLimitError, and whatever Prefect's client raises. A lease that cannot be renewed is
    lost, which stops nobody. One that is granted to whoever is cancelled in that moment ends by itself.
    """
    async with asyncio.timeout(wait):
        lease = await _granted(slot, seconds)
    renewing = asyncio.create_task(_renewed(lease, seconds))
    try:
        yield
    finally:
        renewing.cancel()
        await in_turn(lambda client: client.release_concurrency_slots_with_lease(lease))


async def _granted(slot: str, seconds: float) -> UUID:
    while True:
        try:
            answer = await in_turn(
                lambda client: client.increment_concurrency_slots_with_lease(
                    names=[slot], slots=1, mode="concurrency", lease_duration=seconds
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
            return granted.lease_id
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
