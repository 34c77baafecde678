"""Which credentials a run of many is about, in which order, and how many of them at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from prefect.logging import get_run_logger

from keyturn.assembly import Adapters, assemble
from keyturn.config import Config
from keyturn.due import due_since
from keyturn.errors import KeyturnError, NotFoundError
from keyturn.settings import CredentialSettings
from keyturn.steps.observe import observe_decider

LOOK_SECONDS = 120

T = TypeVar("T")


def chosen(config: Config, credentials: Sequence[str], provider: str | None, *, every: bool) -> list[str]:
    """Those named, and those of the provider, each once. NotFoundError where nothing is: an empty form rotates nobody."""
    of_provider = [name for name, each in config.credentials.items() if every or each.provider == provider]
    names = list(dict.fromkeys([*credentials, *of_provider]))
    for name in credentials:
        config.credential(name)
    if not names:
        raise NotFoundError(
            "no credential is named, and the provider has none",
            remedy="name some, or their provider, or say that all are meant",
        )
    return names


def in_order(config: Config, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of proxies, and then what keyturn logs in with itself: while the others are at work, they use that."""
    own = [name for name in names if config.serves_keyturn(config.credential(name))]
    return [name for name in names if name not in own], own


async def side_by_side(config: Config, names: Sequence[str], at_once: int, act: Callable[[str], Awaitable[T]]) -> list[T]:
    """What `act` says of each, in the order of `names`. Who shares every part shares `at_once` places: no part is asked by a
    thousand at once, and none waits for a part that it does not use."""
    places = defaultdict[object, asyncio.Semaphore](lambda: asyncio.Semaphore(at_once))

    async def in_its_place(name: str) -> T:
        async with places[_parts(config.credential(name))]:
            return await act(name)

    return await asyncio.gather(*(in_its_place(name) for name in names))


def _parts(settings: CredentialSettings) -> object:
    """Whoever has the same answer shares every part."""
    return settings.provider, tuple(secret.store for secret in settings.secrets), settings.proxies, settings.canary_proxy


async def due_now(config: Config, adapters: Adapters, names: Sequence[str]) -> list[str]:
    """Of these, what is due by schedule or age. One that cannot be looked at is: its own rotation says what is wrong."""
    places = asyncio.Semaphore(config.rotate_many.at_once)

    async def is_due(name: str) -> bool:
        try:
            async with places, asyncio.timeout(LOOK_SECONDS), assemble(config, name, adapters=adapters) as c:
                _, journal = await observe_decider(c)
                return due_since(name, c.settings, journal, datetime.now(UTC), config.sweep.every) is not None
        except (KeyturnError, TimeoutError) as error:
            get_run_logger().warning("%s: whether it is due is not known (%s)", name, type(error).__name__)
            return True

    answers = await asyncio.gather(*(is_due(name) for name in names))
    return [name for name, due in zip(names, answers, strict=True) if due]
