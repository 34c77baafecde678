"""Reading the keys that a program is given: patiently at its first start, and exactly the expected one in a roll."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from keyturn.errors import ConflictError, IndeterminateError, KeyturnError, RetryableError, UnavailableError
from keyturn.model import HeldKey, VersionRef

log = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=20)
_SIDE_PATIENCE = timedelta(seconds=5)  # for keys that only come along
_READS = 3  # a store may lag behind its own promote: a replica in another region, a standby node

Keys = Mapping[str, HeldKey]  # by credential


@dataclass(frozen=True, slots=True)
class Variable:
    """A key that the program is given: `read` gives the CURRENT of the credential's deciding secret, anew each time.

    `changed`: see keyturn.ports.TellsChanges; None where the store does not tell.
    """

    credential: str
    name: str
    read: Callable[[], Awaitable[HeldKey]]
    changed: Callable[[VersionRef], Awaitable[None]] | None = None


class KeyReader:
    """All variables of one program. `pause` is asyncio.sleep; a test turns the clock itself."""

    def __init__(self, variables: Sequence[Variable], pause: Callable[[float], Awaitable[None]]) -> None:
        self._variables = {variable.credential: variable for variable in variables}
        self._pause = pause

    async def first(self, limit: timedelta, waiting: Callable[[str], None]) -> Keys:
        """Every key. While a store is unavailable it is asked again, up to `limit`; `waiting` is told why each time.

        Raises the store's error when it is of another kind, or when the time is over.
        """
        deadline = asyncio.get_running_loop().time() + limit.total_seconds()

        async def patiently(variable: Variable) -> HeldKey:
            delay = 0.5
            while True:
                try:
                    return await _read(variable)
                except (RetryableError, IndeterminateError) as error:
                    waiting(f"{variable.credential} cannot be read: {error}")
                    if asyncio.get_running_loop().time() + delay > deadline:
                        raise
                await self._pause(delay)
                delay = min(2 * delay, 10)

        held = await asyncio.gather(*(patiently(variable) for variable in self._variables.values()))
        return dict(zip(self._variables, held, strict=True))

    async def expecting(self, credential: str, fingerprint: str, loaded: Keys) -> Keys:
        """The keys to roll onto: this credential's must be the expected one; the others are the newest to be had.

        ConflictError: CURRENT is another value. Errors of this credential's store as they are. A credential whose store
        fails, or is slow, keeps the key that is loaded: it never holds up the roll of another.
        """
        others = [variable for variable in self._variables.values() if variable.credential != credential]
        expected, *rest = await asyncio.gather(
            self._expected(self._variables[credential], fingerprint),
            *(_read_or_keep(other, loaded[other.credential]) for other in others),
        )
        found = {credential: expected, **{other.credential: held for other, held in zip(others, rest, strict=True)}}
        return {name: found[name] for name in self._variables}

    async def _expected(self, variable: Variable, fingerprint: str) -> HeldKey:
        for attempt in range(_READS):
            if attempt:
                await self._pause(1)
            held = await _read(variable)
            if held.version.fingerprint == fingerprint:
                return held
        raise ConflictError(
            f"the store's current value of {variable.credential} is not the one to roll onto",
            remedy="look whether this member reads the same secret, or whether the key has turned again",
        )


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
