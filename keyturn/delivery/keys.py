"""Reading the keys that a program is given: patiently at its first start, and exactly the expected one in a roll."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from keyturn.delivery.variable_names import Names
from keyturn.errors import (
    ConflictError,
    IndeterminateError,
    KeyturnError,
    MisconfiguredError,
    RetryableError,
    UnavailableError,
)
from keyturn.key_parts import Part
from keyturn.model import HeldKey, VersionRef

if TYPE_CHECKING:  # else every start would import cryptography, which few ask for
    from keyturn.delivery.cache import Kept, KeyCache

log = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=20)
_SIDE_PATIENCE = timedelta(seconds=5)  # for keys that only come along
_PATIENCE_WITH_CACHE = timedelta(seconds=30)
_READS = 3  # a store may lag behind its own promote: a replica in another region, a standby node

Keys = Mapping[str, HeldKey]  # by credential


class NotRenderedError(UnavailableError):
    """What a program other than ours is to write is not there yet, or is not what is expected: it may come at any time."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A key that the program is given: `read` gives the CURRENT of the credential's deciding secret, anew each time.

    `rendered`: it comes from a file that is written some time after the store. Reading raises NotRenderedError then.
    `changed`: see keyturn.ports.TellsChanges; None where the store does not tell. `name` and `parts`: see Names; what `read`
    gives is the whole key, and can be taken apart.
    `leased`: it is no key of a store but a token of this lease: `read` gives a HeldToken, another one each time.
    """

    credential: str
    name: str
    read: Callable[[], Awaitable[HeldKey]]
    rendered: bool = False
    changed: Callable[[VersionRef], Awaitable[None]] | None = None
    parts: tuple[tuple[Part, str], ...] = ()
    leased: bool = False

    @property
    def names(self) -> Names:
        return Names(self.name, self.parts)


class KeyReader:
    """All variables of one program. `pause` is asyncio.sleep; a test turns the clock itself.

    `cache`: what is kept of every good read, and used at the first start alone, for a store that stays unavailable.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        pause: Callable[[float], Awaitable[None]],
        cache: KeyCache | None = None,
    ) -> None:
        self._variables = {variable.credential: variable for variable in variables}
        self._pause = pause
        self._cache = cache
        self._from_cache: dict[str, Kept] = {}

    async def first(self, limit: timedelta, waiting: Callable[[str], None]) -> Keys:
        """Every key. While a store is unavailable it is asked again, up to `limit`; `waiting` is told why each time.

        Raises the store's error when it is of another kind, or when the time is over. With a cache that time is shorter,
        and what it has is used in place of the error.
        """
        patience = limit if self._cache is None else min(limit, _PATIENCE_WITH_CACHE)
        deadline = asyncio.get_running_loop().time() + patience.total_seconds()

        async def patiently(variable: Variable) -> HeldKey:
            delay = 0.5
            while True:
                try:
                    return await _read(variable)
                except (RetryableError, IndeterminateError) as error:
                    waiting(f"{variable.credential} cannot be read: {error}")
                    if asyncio.get_running_loop().time() + delay > deadline:
                        return self._last_known(variable.credential, error)
                await self._pause(delay)
                delay = min(2 * delay, 10)

        held = await asyncio.gather(*(patiently(variable) for variable in self._variables.values()))
        keys = dict(zip(self._variables, held, strict=True))
        self._keep({name: key for name, key in keys.items() if name not in self._from_cache})
        return keys

    def cached(self, keys: Keys) -> Mapping[str, datetime]:
        """Which of these came out of the cache, and no store has confirmed them since; with the time they were read."""
        return {
            name: kept.read
            for name, kept in self._from_cache.items()
            if name in keys and keys[name].version == kept.held.version
        }

    def _last_known(self, credential: str, error: KeyturnError) -> HeldKey:
        if self._cache is None:
            raise error
        try:
            kept = self._cache.find(credential)
        except MisconfiguredError as why:
            log.error("%s is not taken from the cache: %s", credential, why)
            raise error from None
        log.warning(
            "THE STORE OF %s IS UNAVAILABLE: its last known key is used, read %s ago. If it was revoked since, it is dead",
            credential,
            self._cache.age(kept),
        )
        self._from_cache[credential] = kept
        return kept.held

    def _keep(self, read: Keys) -> None:
        """These were read from their stores just now. A token is never kept: it would end in the cache."""
        read = {name: held for name, held in read.items() if not self._variables[name].leased}
        for name, held in read.items():
            if name in self._from_cache and self._from_cache[name].held.version == held.version:
                del self._from_cache[name]
        if self._cache is not None and read:
            self._cache.keep(read)

    async def expecting(self, credential: str, fingerprint: str, loaded: Keys) -> Keys:
        """The keys to roll onto: this credential's must be the expected one; the others are the newest to be had.

        ConflictError: CURRENT is another value. NotRenderedError in its place where keys are rendered: an older value
        cannot be told from a wrong one. Errors of this credential's store as they are. A credential whose store fails, or
        is slow, keeps the key that is loaded: it never holds up the roll of another.
        """
        others = [variable for variable in self._variables.values() if variable.credential != credential]
        expected, *rest = await asyncio.gather(
            self._expected(self._variables[credential], fingerprint),
            *(_read_or_keep(other, loaded[other.credential]) for other in others),
        )
        found = {credential: expected, **{other.credential: held for other, held in zip(others, rest, strict=True)}}
        self._keep({name: held for name, held in found.items() if held is not loaded.get(name)})
        return {name: found[name] for name in self._variables}

    async def _expected(self, variable: Variable, fingerprint: str) -> HeldKey:
        for attempt in range(_READS):
            if attempt:
                await self._pause(1)
            held = await _read(variable)
            if held.version.fingerprint == fingerprint:
                return held
            if variable.rendered:
                raise NotRenderedError(f"the file still has another value for {variable.name}")
        raise ConflictError(
            f"the store's current value of {variable.credential} is not the one to roll onto",
            remedy="look whether this member reads the same secret, or whether the key has turned again",
        )


async def read(variable: Variable) -> HeldKey:
    """Its key, or its token, now. UnavailableError where that takes too long."""
    return await _read(variable)


async def _read_or_keep(variable: Variable, loaded: HeldKey) -> HeldKey:
    try:
        return await _read(variable, _SIDE_PATIENCE)
    except KeyturnError as error:
        log.warning("%s cannot be read, its key is kept: %s", variable.credential, error)
        return loaded


async def _read(variable: Variable, patience: timedelta = _PATIENCE) -> HeldKey:
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await variable.read()
    except TimeoutError:
        raise UnavailableError(
            f"the store of {variable.credential} did not answer within {patience.total_seconds():g} s"
        ) from None
