"""The tokens of a supervised program: fetched anew before they end, into its files, or by a restart in good time.

With key files a new token replaces the file, and nothing else happens. Otherwise the program is restarted as in a roll: by
then there have to be left a drain, its last requests and two starts, for one that fails is followed by one with the old
token, which has to live that long. Then every token of the program is fetched anew, for one restart serves them all.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from keyturn.delivery.keys import Variable, read
from keyturn.delivery.turns import Turn
from keyturn.durations import text
from keyturn.errors import KeyturnError, RollFailedError, UnavailableError
from keyturn.model import HeldToken

log = logging.getLogger(__name__)

_OFTEN = 1.0  # seconds: a program that is ready, a clock that was set, and a machine that slept, are noticed so soon
_FIRST, _LONGEST = 1.0, 60.0  # seconds between tries
_AFTER_A_RESTART = 300.0  # seconds, at least, after one that failed: each of them is a time without this member
_SPREAD = 0.1  # of the time until a new one is due: so much earlier, by chance


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Program(Protocol):
    """What the keeper asks of a supervisor."""

    @property
    def tokens(self) -> Mapping[str, HeldToken]:
        """What the program has, while it can be given others."""
        ...

    async def renew(self, tokens: Mapping[str, HeldToken]) -> bool:
        """Move the program onto these, and return when it is ready again. False: not now."""
        ...

    def withdraw(self, name: str) -> bool:
        """Take away a token that has ended, where that can be done."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """How tokens are renewed. `turn`: among the members, for restarts. The rest is time and chance, for tests."""

    turn: Turn = field(default_factory=Turn)
    now: Callable[[], datetime] = _utc_now
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


@dataclass(slots=True)
class _Token:
    """One lease. `known`: the last that was fetched; it may be the one that the program has, with a later `due`."""

    variable: Variable
    known: HeldToken | None = None
    moment: datetime | None = None
    failure: KeyturnError | None = None
    tries: int = 0
    again: datetime | None = None
    ended: str = ""  # the version that was taken away


class TokenKeeper:
    """`restart`: how long a restart may take, a failed one included; None where files are replaced."""

    def __init__(
        self, variables: Sequence[Variable], program: Program, restart: timedelta | None, renewal: Renewal | None = None
    ) -> None:
        self._tokens = {variable.credential: _Token(variable) for variable in variables}
        self._program, self._restart, self._how = program, restart, renewal or Renewal()

    @property
    def restarts(self) -> bool:
        """Whether the program is restarted for tokens."""
        return bool(self._tokens) and self._restart is not None

    async def run(self) -> None:
        """Until cancelled."""
        while self._tokens:
            await self._how.pause(self._rest())
            try:
                await self.step()
            except Exception as error:  # what it says may hold a token; and nobody else would begin it again
                log.error("renewing the tokens has failed (%s), and is begun anew", type(error).__name__)
                await self._how.pause(_LONGEST)

    async def step(self) -> None:
        """Renew what is due, if anything is."""
        self._look()
        if not (due := [name for name in self._tokens if self._is_due(name)]):
            return
        # One restart serves all of them.
        found = await self._fetched(list(self._tokens) if self._restart is not None else due)
        held = self._program.tokens
        if new := {name: token for name, token in found.items() if name in held and token.version != held[name].version}:
            await self._moved(new)

    def told(self) -> Mapping[str, Any]:
        """For the member's status."""
        return {
            name: {
                "ends": token.known.ends.isoformat(),
                "refresh": max(self._moment(name), self._how.now()).isoformat(),
                "failure": str(token.failure or ""),
            }
            for name, token in self._tokens.items()
            if token.known is not None
        }

    def _look(self) -> None:
        """At what the program has: a roll brings new tokens along."""
        for name, held in self._program.tokens.items():
            if (token := self._tokens.get(name)) is None:
                continue
            if token.known is None or token.known.version != held.version:
                token.known, token.moment = held, None
                token.failure, token.tries, token.again = None, 0, None
                self._warn_of_a_short_one(name, held)
            if self._how.now() >= held.last and token.ended != held.version.id:
                token.ended = held.version.id
                taken = " and was taken away" if self._program.withdraw(name) else ""
                log.error("the token of %s has ended%s: there is no new one", name, taken)

    def _warn_of_a_short_one(self, name: str, held: HeldToken) -> None:
        if self._restart is not None and held.last - held.asked < self._restart:
            log.warning(
                "a token of %s lives %s, and a restart may take %s: use --deliver file where LiteLLM reads files",
                name,
                text(held.ends - held.asked),
                text(self._restart),
            )

    def _moment(self, name: str) -> datetime:
        """When the next one is fetched."""
        token = self._tokens[name]
        if token.known is None:
            return self._how.now() + timedelta(seconds=_OFTEN)
        if token.moment is None:
            held = token.known
            due, half = held.due, held.asked + (held.last - held.asked) / 2
            if self._restart is not None:
                due = min(due, max(held.last - self._restart, half))
            token.moment = due - (due - held.asked) * _SPREAD * self._how.chance()
        return max(token.moment, token.again) if token.again is not None else token.moment

    def _is_due(self, name: str) -> bool:
        return self._tokens[name].known is not None and self._how.now() >= self._moment(name)

    def _rest(self) -> float:
        now = self._how.now()
        seconds = [(self._moment(name) - now).total_seconds() for name in self._tokens]
        ends = [(each.last - now).total_seconds() for each in self._program.tokens.values() if each.last > now]
        return min(max(min([*seconds, *ends], default=_OFTEN), 0.05), _OFTEN)

    async def _fetched(self, names: Sequence[str]) -> dict[str, HeldToken]:
        """All at once: a slow endpoint holds up no other. What fails is told, and left out."""
        found = await asyncio.gather(*(self._fetch(name) for name in names))
        return {name: held for name, held in zip(names, found, strict=True) if held is not None}

    async def _fetch(self, name: str) -> HeldToken | None:
        token = self._tokens[name]
        try:
            held = await read(token.variable)
        except KeyturnError as error:
            self._failed(name, error)
            return None
        token.failure, token.tries, token.again = None, 0, None
        if not isinstance(held, HeldToken):
            return None
        if token.known is not None and token.known.version == held.version:
            token.known, token.moment = held, None  # the vendor gave out the same one: its end is nearer by now
        return held

    async def _moved(self, tokens: Mapping[str, HeldToken]) -> None:
        turn = self._how.turn
        try:
            if self._restart is not None:
                await turn.take(lambda: self._in_haste(tokens))
            if not await self._program.renew(tokens):
                self._later(tokens, UnavailableError("the program is being started, or rolled"), _FIRST)
        except RollFailedError as error:
            self._later(tokens, error, _AFTER_A_RESTART)
        except KeyturnError as error:
            for name in tokens:
                self._failed(name, error)
        finally:
            turn.give_back()
        self._look()

    def _in_haste(self, tokens: Mapping[str, HeldToken]) -> bool:
        """No more waiting for others: one restart takes half of the time that was counted on."""
        held, half = self._program.tokens, (self._restart or timedelta(0)) / 2
        return any(name in held and self._how.now() >= held[name].last - half for name in tokens)

    def _failed(self, name: str, error: KeyturnError) -> None:
        token = self._tokens[name]
        if type(token.failure) is not type(error):
            log.warning("no new token of %s: %s; the one before is kept until its end", name, error)
        token.tries += 1
        self._later([name], error, min(_FIRST * 2.0 ** min(token.tries - 1, 20), _LONGEST))

    def _later(self, names: Mapping[str, Any] | Sequence[str], error: KeyturnError, seconds: float) -> None:
        for name in names:
            token = self._tokens[name]
            token.failure = error.with_traceback(None)
            token.again = self._how.now() + timedelta(seconds=seconds * (1 + _SPREAD * self._how.chance()))
