"""Not too much at once at one provider: a courtesy to its limits on admin calls, as keyturn.yaml sets them.

An incident does not wait. Where Prefect cannot say, or nobody gives a place back, a run goes on: the vendor's own answer to
too many calls is retried by each step.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from prefect.concurrency.asyncio import rate_limit
from prefect.logging import get_run_logger

from flows.asking import asking_prefect
from flows.turnstile import WAIT_SECONDS, held, made
from keyturn import environments
from keyturn.errors import UnavailableError
from keyturn.settings import ProviderLimits


def places_of(environment: str, provider: str) -> str:
    """Prefect's limit of how many are at work with it."""
    return environments.scoped(environment, f"provider.{provider}")


def pace_of(environment: str, provider: str) -> str:
    """Prefect's limit of how soon after another one may begin."""
    return f"{places_of(environment, provider)}.pace"


@asynccontextmanager
async def at_provider(provider: str, limits: ProviderLimits, *, urgent: bool) -> AsyncIterator[None]:
    """Wait for a place at this provider of keyturn.yaml, and for its turn. Nothing is asked where there are no limits.

    Taken with no fleet in hand: whoever waits here for a slow provider would keep others from theirs.
    """
    async with AsyncExitStack() as stack:
        if limits.max_concurrent is not None and not urgent:
            await _a_place(stack, places_of(environments.named(), provider), limits.max_concurrent)
        await its_turn(provider, limits, urgent=urgent)
        yield


async def its_turn(provider: str, limits: ProviderLimits, *, urgent: bool) -> None:
    """Wait until the last one began long enough ago; no place is taken."""
    if limits.min_interval and not urgent:
        await _its_turn(pace_of(environments.named(), provider), limits.min_interval.total_seconds())


async def _a_place(stack: AsyncExitStack, slot: str, limit: int) -> None:
    try:
        await made(slot, freed=False, limit=limit)
        await stack.enter_async_context(held(slot))
    except TimeoutError:
        get_run_logger().warning("nobody has given a place at the provider back for an hour: all are freed")
        with suppress(UnavailableError):
            await made(slot, freed=True, limit=limit)
    except UnavailableError as error:
        get_run_logger().warning("no place at the provider is waited for: %s", error)


async def _its_turn(slot: str, seconds: float) -> None:
    try:
        await made(slot, freed=False, pace=1 / seconds)
        with asking_prefect():
            await rate_limit(slot, timeout_seconds=WAIT_SECONDS, strict=True)
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("its turn at the provider is not waited for any longer: %s", error or "an hour is over")
