"""Workers that can be held, killed or lied to at every call they make to the world outside.

An `Actor` is one process: it runs a coroutine over an Assembly whose every adapter call passes through the actor. There it
may be held (while other actors run, people meddle, and the clock moves on), or meet a `Fault`. Nothing else switches between
actors, so a scenario is the same each time it is run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from keyturn.assembly import Assembly
from keyturn.errors import DeniedError, KeyturnError, LostAnswerError, UnavailableError
from keyturn.ports import APART

EFFECTS = frozenset(
    {"create", "renew", "turn", "disable", "enable", "revoke", "end"}
    | {"stage", "spend", "promote", "swap", "bar", "discard", "annotate", "roll", "replace"}
)
_FREE = frozenset(
    {"aclose", "preflight", "members", "workloads"}
)  # none of them looks at, or changes, what a rotation turns on
_SETTLED = 20  # turns of the event loop: more than steps nest their gathers
_NO_LIMIT = float("inf")


class Fault(Enum):
    """What may happen at a call."""

    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"
    ANSWER_LOST = "loses the answer to"  # it is done, and the caller is told that it may not be
    UNAVAILABLE = "finds nobody for"
    DENIED = "is denied"
    DELAYED = "gives up waiting for"  # and what it asked for happens later, when the post delivers it
    TWICE = "is delivered twice"  # once now and once more later, as by a proxy that repeats


class Died(BaseException):
    """The process is gone: no `except` of the product sees it."""


@dataclass
class Post:
    """Requests that are still on their way when nobody waits for them any more. Give it to several actors."""

    letters: list[tuple[str, Callable[[], Awaitable[Any]]]] = field(default_factory=list)

    async def deliver(self, number: int = 0) -> str:
        """The call of this number happens now; what comes of it nobody hears. Its name."""
        name, act = self.letters.pop(number)
        with suppress(KeyturnError):
            await act()
        return name


@dataclass
class Actor:
    """One process. `faults`: what happens at which of its calls, counted from 0. `after_effect`: called after each effect.

    `merges_notes`: annotate is a read, a merge and a write, as in stores that cannot merge themselves; but for the notes
    that the port keeps apart.
    """

    name: str
    faults: Mapping[int, Fault] = field(default_factory=dict)
    after_effect: Callable[[], None] = lambda: None
    merges_notes: bool = False
    post: Post = field(default_factory=Post)
    calls: list[str] = field(default_factory=list)
    effects: int = 0
    dead: bool = False
    _may_call: float = _NO_LIMIT
    _may_effect: float = _NO_LIMIT
    _before: tuple[str, int] = ("", 1)
    _held: list[asyncio.Future[None]] = field(default_factory=list)
    _task: asyncio.Task[Any] | None = None

    def over(self, c: Assembly) -> Assembly:
        """The same wiring, with every call passing through this actor."""
        return replace(
            c,
            provider=self._watched("provider", self._with_its_store(c.provider)),
            secrets=tuple((secret, self._watched(f"store {secret.store}", store)) for secret, store in c.secrets),
            fleets={name: self._watched(f"fleet {name}", fleet) for name, fleet in c.fleets.items()},
            canaries={name: self._watched(f"canary {name}", canary) for name, canary in c.canaries.items()},
        )

    def _with_its_store(self, provider: Any) -> Any:
        """A provider that keeps a pool in a store calls that through this actor, too."""
        over = getattr(provider, "over", None)
        return provider if over is None else over(lambda store: self._watched("pool", store))

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin; held before the first call."""
        self._may_call = 0
        self._task = asyncio.ensure_future(work)

    async def until(self, *, calls: float = _NO_LIMIT, effects: float = _NO_LIMIT, before: str = "", nth: int = 1) -> bool:
        """Go on until so many calls, or effects, are done in all, and the next is about to be made. False: it has ended.

        `before`: or until the nth call of this name, such as `provider.create`, is about to be made.
        """
        assert self._task is not None
        self._let_go(calls, effects, before, nth)
        quiet, seen = 0, -1
        while not self._task.done() and quiet < _SETTLED:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._held and len(self.calls) == seen else 0
            seen = len(self.calls)
        return not self._task.done()

    async def end(self) -> Any:
        """Go on to the end. Its result: a KeyturnError is one too, and a death is None."""
        assert self._task is not None
        self._let_go()
        try:
            return await self._task
        except KeyturnError as error:
            return error
        except Died:
            return None

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.start(work)
        return await self.end()

    async def bury(self) -> None:
        """Leave nothing on the event loop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, KeyturnError, Died):
                await self._task

    def _let_go(self, calls: float = _NO_LIMIT, effects: float = _NO_LIMIT, before: str = "", nth: int = 1) -> None:
        self._may_call, self._may_effect, self._before = calls, effects, (before, nth)
        held, self._held = self._held, []
        for waiting in held:
            waiting.set_result(None)

    def _has_to_wait(self, name: str, verb: str) -> bool:
        if len(self.calls) >= self._may_call or (verb in EFFECTS and self.effects >= self._may_effect):
            return True
        before, nth = self._before
        return name == before and self.calls.count(name) >= nth - 1

    async def _turn(self, name: str, verb: str) -> None:
        while self._has_to_wait(name, verb):
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.append(waiting)
            await waiting

    async def call(self, part: str, verb: str, act: Callable[[], Awaitable[Any]]) -> Any:
        """Make one call, or meet the fault that is due."""
        name = f"{part}.{verb}"
        await self._turn(name, verb)
        fault = self.faults.get(len(self.calls))
        self.calls.append(name)
        self.effects += verb in EFFECTS
        if self.dead or fault is Fault.DIES_BEFORE:
            self.dead = True
            raise Died
        if fault is Fault.DELAYED and verb in EFFECTS:
            self.post.letters.append((name, act))
            raise _lost(part, verb)
        if fault in (Fault.UNAVAILABLE, Fault.DELAYED):
            raise UnavailableError(f"{part} does not answer to {verb}")
        if fault is Fault.DENIED:
            raise DeniedError(f"{part} denies {verb}")
        result = await act()
        if verb in EFFECTS:
            self.after_effect()
        if fault is Fault.DIES_AFTER:
            self.dead = True
            raise Died
        if fault is Fault.TWICE and verb in EFFECTS:
            self.post.letters.append((name, act))
        if fault is Fault.ANSWER_LOST:
            raise _lost(part, verb)
        return result

    def _watched(self, part: str, target: Any) -> Any:
        return _Watched(self, part, target)


def _lost(part: str, verb: str) -> KeyturnError:
    makes_a_key = verb in ("create", "renew", "turn")
    return (LostAnswerError if makes_a_key else UnavailableError)(f"the answer of {part} to {verb} was lost")


class _Watched:
    """An adapter as its actor sees it."""

    def __init__(self, actor: Actor, part: str, target: Any) -> None:
        self._actor, self._part, self._target = actor, part, target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name in _FREE or not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == "annotate" and self._actor.merges_notes:
                return await self._merge_notes(*args)
            return await self._actor.call(self._part, name, lambda: found(*args, **kwargs))

        setattr(self, name, call)
        return call

    async def _merge_notes(self, secret: Any, notes: Mapping[str, str | None]) -> None:
        seen = await self._actor.call(self._part, "annotations", lambda: self._target.annotations(secret))
        merged = {**{name: text for name, text in seen.items() if not name.startswith(APART)}, **notes}

        async def write() -> None:
            there = [name for name in await self._target.annotations(secret) if not name.startswith(APART)]
            await self._target.annotate(secret, {**dict.fromkeys(there), **merged})

        await self._actor.call(self._part, "annotate", write)
