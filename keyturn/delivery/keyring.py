"""KeyRing: the current keys for a program that embeds LiteLLM as a library, or calls a provider itself.

    with KeyRing.from_config() as ring:             # async with, in a program that has an event loop
        litellm.completion(..., api_key=ring.get("OPENAI_API_KEY"))

Whoever reads a key takes it out of a mapping that is never changed, only replaced as a whole: there is no lock. A key of
several parts stands there as a whole and by its parts, all replaced at one moment (`get_all`). Beside each key stands until
when it may be given out, so a ring whose refresher is dead, or whose process was asleep, goes stale all the same. Keys are
held as KeyMaterial; their text leaves by `get` and `get_all` alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from keyturn.delivery import keyring_figures
from keyturn.delivery.keyring_engine import Engine, GoneError, Read, Sources, Timing, given
from keyturn.delivery.keyring_figures import Figures
from keyturn.delivery.keyring_freshness import Entry, Freshness, elapsed
from keyturn.delivery.keys import Variable
from keyturn.delivery.variable_names import Names
from keyturn.errors import MisconfiguredError, NotFoundError, StaleKeyError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef

if TYPE_CHECKING:
    from keyturn.delivery.keyring_probe import Probe

__all__ = ["Freshness", "KeyRing"]

log = logging.getLogger("keyturn.keyring")

Listener = Callable[[str, VersionRef], None]

_RINGS: weakref.WeakSet[KeyRing] = weakref.WeakSet()


class KeyRing:
    """Keys by the name of their variable, kept fresh in the background.

    `keys`: for each name a coroutine function that reads the key from its store (it must be usable after a fork), or what
    opens the stores (`from_config` brings that). `start_timeout`: how long an unreachable store is waited for at the
    start, which fails with the store's error: without a key there is no ring. `clock`, `pause` and `chance` are for tests.

    Later errors of a store never take a key away before `freshness.max_staleness`: neither an outage, nor a denial, nor a
    secret that is gone. They are told in the log (`keyturn.keyring`) and in `stats()`.
    """

    def __init__(
        self,
        keys: Mapping[str, Read] | Sources,
        freshness: Freshness | None = None,
        *,
        start_timeout: timedelta = timedelta(seconds=20),
        clock: Callable[[], float] = elapsed,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.freshness = freshness or Freshness()
        self._clock = clock
        self._entries: Mapping[str, Entry] = {}
        self._board = _Board(self)
        sources = given(keys) if isinstance(keys, Mapping) else keys
        self._engine = Engine(
            sources, self.freshness, start_timeout.total_seconds(), self._board, Timing(clock, pause, chance)
        )
        _RINGS.add(self)

    @classmethod
    def from_config(
        cls, path: Path | None = None, proxy: str = "embedded", freshness: Freshness | None = None, **more: Any
    ) -> KeyRing:
        """The keys that `keyturn exec --proxy NAME` would give a program, under the same names. Nothing is read yet.

        ConfigError and MisconfiguredError for a keyturn.yaml, or a name in `proxies`, that does not fit.
        """
        from keyturn.assembly import Adapters
        from keyturn.config import load
        from keyturn.delivery.variables import all_variables
        from keyturn.quiet import hold_vendor_loggers

        hold_vendor_loggers()
        config = load(path)

        @asynccontextmanager
        async def stores() -> AsyncIterator[Sequence[Variable]]:
            adapters = Adapters(config)
            try:
                yield all_variables(config, proxy, adapters.store, adapters.lease)
            finally:
                await adapters.aclose()

        tried = Adapters(config)  # what does not fit comes up here, and not in the background
        all_variables(config, proxy, tried.store, tried.lease)
        return cls(stores, freshness, **more)

    # Reading --------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str:
        """The key's text, to be handed on at once and not kept. No lock, no waiting, no store.

        NotFoundError for a name that is not on the ring; StaleKeyError when `max_staleness` is over.
        """
        entry = self._entries.get(name)
        if entry is None or self._clock() > entry.limit:
            self._refuse(name, entry)
        return entry.material.reveal()

    def get_all(self, *names: str) -> tuple[str, ...]:
        """Several texts of one moment: parts of one key are of one version. Between two calls of `get` a key may turn.

        Errors as `get`.
        """
        entries, now = self._entries, self._clock()
        found = [(name, entries.get(name)) for name in names]
        return tuple(
            self._refuse(name, entry) if entry is None or now > entry.limit else entry.material.reveal()
            for name, entry in found
        )

    def held(self, name: str) -> HeldKey:
        """The key together with its version; of a part, the version of the whole key. Errors as `get`."""
        entry = self._entries.get(name)
        if entry is None or self._clock() > entry.limit:
            self._refuse(name, entry)
        return HeldKey(entry.version, entry.material)

    def material(self, name: str) -> KeyMaterial:
        """The key. Errors as `get`."""
        return self.held(name).material

    def version(self, name: str) -> VersionRef:
        """Which version the key is. NotFoundError as `get`; it is told of a stale key too."""
        return self._known(name).version

    def age(self, name: str) -> float:
        """Seconds since the store last confirmed that this is the key."""
        return self._clock() - self._known(name).confirmed

    @property
    def names(self) -> Sequence[str]:
        """One for each key: its variable. Of a key of several parts see `names_of`."""
        return tuple(name for name in self._entries if name in self._board.names)

    def names_of(self, name: str) -> Names:
        """The names of a key: as a whole, and of its parts. NotFoundError as `get`."""
        self._known(name)
        return self._board.names.get(name) or Names(name)

    @property
    def credentials(self) -> Mapping[str, str]:
        """The credential of keyturn.yaml that each key is, by name."""
        return self._board.credentials

    @property
    def running(self) -> bool:
        """Whether keys are refreshed."""
        return self._engine.running

    # Refreshing -----------------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Ask the stores now; whether all have confirmed their keys. For an event, or after a provider's 401.

        However many threads call it, each key is read once at a time, and not again within `freshness.floor`: then the
        last outcome counts. It raises no error of a store (see the log and `stats()`). Not from the event loop that the
        ring is refreshed in: MisconfiguredError; there, `await arefresh()`.
        """
        try:
            return bool(self._engine.call(lambda refresher: refresher.refresh()))
        except GoneError:
            return False

    async def arefresh(self) -> bool:
        """As `refresh`, from any event loop."""
        try:
            return bool(await self._engine.acall(lambda refresher: refresher.refresh()))
        except GoneError:
            return False

    async def expect(self, name: str, fingerprint: str) -> None:
        """Move this key onto the value of this fingerprint, if the store says that it is CURRENT.

        ConflictError: it says another. UnavailableError and others: the store's own. The key is what the store said last.
        """
        try:
            await self._engine.acall(lambda refresher: refresher.expect(name, fingerprint))
        except GoneError:
            raise _not_open() from None

    def serve_control(self, address: str, token: str, probe: Probe | None = None) -> None:
        """Be a member of a fleet of kind `process`, until the ring is closed: keyturn rolls it, and asks what it serves.

        `address`: `http://127.0.0.1:PORT` or `unix:/PATH`. `token`: a reference, `env:NAME` or `file:PATH`, to what the
        fleet's `control_token` is. `probe`: lets a canary call the provider by way of this program's LiteLLM.
        MisconfiguredError: an address that cannot be listened on. Not from the ring's own event loop: `aserve_control`.
        """
        from keyturn.delivery.keyring_control import serve

        try:
            self._engine.call(lambda _: serve(self, self._engine, address, token, probe))
        except GoneError:
            raise _not_open() from None

    async def aserve_control(self, address: str, token: str, probe: Probe | None = None) -> None:
        """As `serve_control`, from any event loop."""
        from keyturn.delivery.keyring_control import serve

        try:
            await self._engine.acall(lambda _: serve(self, self._engine, address, token, probe))
        except GoneError:
            raise _not_open() from None

    def on_change(self, listener: Listener) -> None:
        """Call it with name and version when a key was replaced, or is given out again after it was stale.

        In the refresher's thread, so it must not wait.
        """
        self._board.on_change.append(listener)

    def on_stale(self, listener: Callable[[str], None]) -> None:
        """Call it with the name when a key is given out no more. Only while the refresher lives: `get` needs no such."""
        self._board.on_stale.append(listener)

    def stats(self) -> Mapping[str, Any]:
        """Plain numbers: for each key its age, version and counts, and whether keys are refreshed at all."""
        now, entries = self._clock(), self._entries
        return {
            "running": self.running,
            "keys": {
                name: {
                    "age_seconds": round(now - entry.confirmed, 3),
                    "stale": now > entry.limit,
                    "version": entry.version.id,
                    "fingerprint": entry.version.fingerprint,
                    **({} if entry.ends is None else _told(entry.ends, entry.limit - now, entry.due - now)),
                    **self._board.figures(name).told(),
                }
                for name, entry in entries.items()
                if name in self._board.names
            },
        }

    def prometheus(self) -> str:
        """`stats()` in Prometheus' text format, for a page that the program serves already."""
        return keyring_figures.prometheus(self.stats())

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Read every key, and keep them fresh in a thread of the ring's own. Raises the store's error after `start_timeout`.

        A ring is started once. After a fork the child has a thread of its own, and the keys as they were.
        """
        self._engine.start()
        return self

    def close(self) -> None:
        """Stop refreshing and forget the keys. May be repeated."""
        self._engine.close()

    async def astart(self) -> Self:
        """As `start`, in the running event loop and without a thread."""
        await self._engine.astart()
        return self

    async def aclose(self) -> None:
        """As `close`, from the event loop that the ring was started in."""
        await self._engine.aclose()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        now = self._clock()
        keys = [(name, entry) for name, entry in self._entries.items() if name in self._board.names]
        told = [f"{name} {entry.version.fingerprint} {now - entry.confirmed:.0f} s" for name, entry in keys]
        return f"<KeyRing {self._engine.state}: {', '.join(told) or 'no keys'}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key ring is neither pickled nor copied: it holds keys, and a connection to their store")

    # Inside ---------------------------------------------------------------------------------------------------------

    def _known(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            self._refuse(name, None)
        return entry

    def _refuse(self, name: str, entry: Entry | None) -> NoReturn:
        if entry is not None and entry.ends is not None:
            raise StaleKeyError(
                f"{name} is a token that has ended, or is about to, and no new one could be had",
                remedy="see why its lease gives none: stats(), and the log keyturn.keyring",
            )
        if entry is not None:
            raise StaleKeyError(
                f"{name} was last confirmed by its store {self._clock() - entry.confirmed:.0f} s ago: too long",
                remedy="see why its store cannot be asked: stats(), and the log keyturn.keyring",
            )
        if self._engine.state != "started":
            raise MisconfiguredError(
                f"the key ring is {self._engine.state}", remedy="read keys while it is open: `with ring:`"
            )
        # The name is not told: it may be a key, given at the wrong place.
        raise NotFoundError("no key of that name is on the ring", remedy=f"use one of: {', '.join(self._entries)}")


class _Board:
    """Where the refresher puts up the keys of a ring: it is called in the refresher's loop alone."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._figures: dict[str, Figures] = {}
        self.credentials: dict[str, str] = {}
        self.names: dict[str, Names] = {}
        self.on_change: list[Listener] = []
        self.on_stale: list[Callable[[str], None]] = []

    def known(self, variable: Variable) -> Entry | None:
        self.credentials[variable.name] = variable.credential
        self.names[variable.name] = variable.names
        return self._ring._entries.get(variable.name)

    def figures(self, name: str) -> Figures:
        return self._figures.setdefault(name, Figures())

    def confirmed(self, name: str, entry: Entry, news: bool) -> None:
        if self._ring._engine.state == "closed":
            return
        parts = self.names[name].given(entry.material)  # its reader has seen to it that it can be taken apart
        given = {part: replace(entry, material=material) for part, material in parts.items()}
        self._ring._entries = {**self._ring._entries, **given, name: entry}
        if news:
            self._tell(self.on_change, name, entry.version)

    def went_stale(self, name: str) -> None:
        self._tell(self.on_stale, name)

    def forget(self) -> None:
        self._ring._entries = {}

    def _tell(self, listeners: Sequence[Callable[..., None]], *what: object) -> None:
        for listener in list(listeners):
            try:
                listener(*what)
            except Exception as error:  # its text may hold the key that it was called for
                log.error("a listener of the key ring failed (%s)", type(error).__name__)


def _told(ends: datetime, left: float, due: float) -> Mapping[str, Any]:
    """Of a token: when it is refused from, for how many seconds it is given out, and when a new one is fetched."""
    refresh = datetime.now(UTC) + timedelta(seconds=max(due, 0))
    return {"ends": ends.isoformat(), "left_seconds": round(left, 3), "refresh": refresh.isoformat()}


def _not_open() -> UnavailableError:
    return UnavailableError("the key ring's refresher does not run", remedy="is the ring open?")


def _after_fork_in_child() -> None:
    for ring in list(_RINGS):
        ring._engine.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
