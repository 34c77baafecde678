"""The life of a token: renewed in time, replaced where it cannot be renewed, and never by two callers at once.

There is no thread in the background. A token is looked at before it is used: once two thirds of its life are over it is
renewed, and where Vault gives it less than it had at first (its max TTL is near), or nothing, a new one is logged in for.
As long as the old one lives, no failure of that is anybody's failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from keyturn.errors import KeyturnError
from keyturn.json_object import UnreadableError, inside, plain_id
from keyturn.material import KeyMaterial

_FRESH = 2 / 3  # of its life; the rest is for the calls that are under way, and for a server that does not answer
_SOONEST = 1.0  # seconds between two tries
_LONGEST = 10 * 366 * 86400  # seconds: what Vault may say beyond that is no time


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gave. `ttl`: seconds; 0: it does not end, or nobody told when. `policies`: what may be done with it."""

    material: KeyMaterial
    ttl: float = 0
    renewable: bool = False
    policies: tuple[str, ...] = ()
    orphan: bool = False
    durable: bool = True  # a service token that may be used as often as one likes


def token_in(body: Any) -> Token:
    """The token in the answer to a login, a renewal, or the making of a token. UnreadableError where there is none."""
    material, ttl = None, inside(body, "auth", "lease_duration")
    text = inside(body, "auth", "client_token")
    with suppress(ValueError):
        material = KeyMaterial(text if isinstance(text, str) else "")
    if material is None:
        raise UnreadableError
    kind, uses = inside(body, "auth", "token_type"), inside(body, "auth", "num_uses")
    return Token(
        material,
        seconds(ttl),
        inside(body, "auth", "renewable") is True,
        _policies(inside(body, "auth", "policies")),
        inside(body, "auth", "orphan") is True,
        kind in (None, "service") and not uses,
    )


def seconds(value: Any) -> float:
    """A TTL of Vault's. UnreadableError for anything but a whole number of seconds."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LONGEST:
        raise UnreadableError
    return float(value)


def _policies(value: Any) -> tuple[str, ...]:
    with suppress(UnreadableError):
        return tuple(plain_id(each) for each in value) if isinstance(value, list) else ()
    return ()


class TokenKeeper:
    """Gives the token to use now. `log_in` makes one; `renew` gives the same one a new life, None where it is refused."""

    def __init__(
        self,
        log_in: Callable[[], Awaitable[Token]],
        renew: Callable[[KeyMaterial], Awaitable[Token | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_in, self._renew, self._clock = log_in, renew, clock
        self._lock = asyncio.Lock()
        self._held: Token | None = None
        self._at_first = self._ends = self._look_at = 0.0

    @property
    def held(self) -> Token | None:
        """The token as it was last given, without a look at its life."""
        return self._held

    async def get(self, refused: KeyMaterial | None = None) -> KeyMaterial:
        """The token. `refused`: what Vault did not take; while that is still the one held, a new one is logged in for."""
        async with self._lock:  # several callers need one login or renewal, not one each
            if self._held is None or self._held.material == refused:
                return await self._begin()
            if self._held.ttl and self._clock() >= self._look_at:
                return await self._extend(self._held)
            return self._held.material

    async def _begin(self) -> KeyMaterial:
        began = self._clock()  # its life began at Vault's, which is later: so it is never thought longer than it is
        token = await self._log_in()
        self._at_first = token.ttl
        return self._keep(token, began)

    async def _extend(self, held: Token) -> KeyMaterial:
        now = self._clock()
        if now >= self._ends:
            return await self._begin()
        with suppress(KeyturnError):
            renewed = await self._renew(held.material) if held.renewable else None
            if renewed is not None:
                self._keep(renewed, now)
            if renewed is None or renewed.ttl < self._at_first:
                return await self._begin()
            return renewed.material
        self._look_at = now + max((self._ends - now) / 2, _SOONEST)
        return held.material

    def _keep(self, token: Token, began: float) -> KeyMaterial:
        self._held = token
        self._ends, self._look_at = began + token.ttl, began + token.ttl * _FRESH
        return token.material
