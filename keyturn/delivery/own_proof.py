"""Whether a key works in this very member: asked through its own program, before anybody is sent there.

It is the call of the canary (keyturn.canary.calls): pinned, uncached, without retry or fallback, with the key that the
program has loaded. A member may be the only one where a key does not work, as where the provider lets in addresses by a
list, or where its `api_base` is another. What cannot be asked is reported, never invented.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from keyturn import faults
from keyturn.canary.calls import Calls, choose
from keyturn.canary.verdicts import Meaning
from keyturn.durations import text
from keyturn.errors import KeyturnError, MisconfiguredError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Member, Verdict
from keyturn.settings import CanarySettings

log = logging.getLogger(__name__)

_AGAIN_AFTER = 2.0  # seconds
_ONE_LOOK = 10.0  # seconds: for what is good to know, and not waited for
_NOT_ASKED = "not asked: nothing is proved at a start"


@dataclass(frozen=True, slots=True)
class Found:
    """What came of asking, in words of ours. `verdict` None: it could not be asked, which says nothing of the key.

    `clear`: the provider refuses the key, or forbids the call; it is no outage.
    """

    verdict: Verdict | None
    words: str
    clear: bool = False

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.ACCEPTED


class OwnProof:
    """`canaries`: by credential, what keyturn.yaml says of its canary. `url`: the program itself, on this host.

    `limit`: how long a key is tried again that is not accepted: a fresh one may be refused for a moment, a 429 may pass.
    `at_start`: whether a first start is proved, too. `without`: why nothing can be asked; else empty.
    Permission needed: the proxies' master key. `pause` is asyncio.sleep, or a test's own.
    """

    def __init__(
        self,
        canaries: Mapping[str, CanarySettings],
        url: str,
        master_key: Callable[[], Awaitable[KeyMaterial]],
        *,
        limit: timedelta = timedelta(seconds=30),
        at_start: bool = False,
        without: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limit, self.at_start = limit, at_start
        self._canaries, self._without, self._pause = dict(canaries), without, pause
        self._member = Member("this member", url)
        self._told = dict.fromkeys(self._canaries, without or _NOT_ASKED)

        async def ours() -> KeyMaterial:
            failure = f"it took more than {_ONE_LOOK:g} s"
            with suppress(TimeoutError):
                try:
                    async with asyncio.timeout(_ONE_LOOK):
                        return await master_key()
                except KeyturnError as error:
                    failure = error.message
            raise MisconfiguredError(f"the proxies' master key cannot be read here: {failure}")

        # No proxy of the environment, and no keep-alive: a draining server would have to wait for a connection of ours.
        way = transport or httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._calls = {name: Calls(ours, each.timeout, way) for name, each in self._canaries.items()}

    async def refused_already(self, names: Collection[str]) -> set[str]:
        """Whose key in service the provider refuses: then there is nothing to go back to. One look, with no patience."""
        found = await asyncio.gather(*(self._look(name) for name in names))
        return {name for name, each in zip(names, found, strict=True) if each.verdict is Verdict.REJECTED}

    async def failing(self, names: Collection[str]) -> dict[str, Found]:
        """Whose key was not accepted here within the time, and what was found. Without those that could not be asked."""
        found = await self._all(names, lambda each: each.accepted)
        return {name: each for name, each in found.items() if each.verdict not in (None, Verdict.ACCEPTED)}

    async def clearly_refused(self, names: Collection[str]) -> dict[str, Found]:
        """Whose key is refused, or its call forbidden, and stayed so all the time: as in no outage."""
        found = await self._all(names, lambda each: not each.clear)
        return {name: each for name, each in found.items() if each.clear}

    async def served_again(self, names: Collection[str]) -> dict[str, Found]:
        """What one look says of the keys that are to be served whatever it says."""
        found = dict(zip(names, await asyncio.gather(*(self._look(name) for name in names)), strict=True))
        for name, each in found.items():
            self._note(name, each)
        return found

    def told(self) -> dict[str, Any]:
        """For the member's status: which keys in service were proved here, and why the others were not."""
        return {
            "proved": {name: not why for name, why in self._told.items()},
            "unproved": {name: why for name, why in self._told.items() if why},
        }

    async def aclose(self) -> None:
        for calls in self._calls.values():
            await calls.aclose()

    async def _all(self, names: Collection[str], enough: Callable[[Found], bool]) -> dict[str, Found]:
        found = await asyncio.gather(*(self._patiently(name, enough) for name in names))
        return dict(zip(names, found, strict=True))

    async def _patiently(self, name: str, enough: Callable[[Found], bool]) -> Found:
        found = Found(Verdict.INDETERMINATE, f"no answer within {text(self.limit)}")
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limit.total_seconds()):
                for tries_left in range(int(self.limit.total_seconds() / _AGAIN_AFTER), -1, -1):
                    found = await self._ask(name)
                    if enough(found) or not self._can_be_asked(name) or not tries_left:
                        break
                    await self._pause(_AGAIN_AFTER)
        self._note(name, found)
        return found

    async def _look(self, name: str) -> Found:
        found = Found(Verdict.INDETERMINATE, f"no answer within {_ONE_LOOK:g} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(_ONE_LOOK):
                found = await self._ask(name)
        return found

    def _can_be_asked(self, name: str) -> bool:
        return name in self._canaries and not self._without

    def _note(self, name: str, found: Found) -> None:
        if name in self._canaries:
            self._told[name] = "" if found.accepted else found.words

    async def _ask(self, name: str) -> Found:
        if not self._can_be_asked(name):
            return Found(None, self._without or "it has no canary")
        canary, calls = self._canaries[name], self._calls[name]
        try:
            deployment = choose(await calls.deployments(self._member), canary.model, canary.deployment)
            reading = await calls.ask(self._member, deployment)
        except UnavailableError as error:
            return Found(Verdict.INDETERMINATE, error.message)
        except KeyturnError as error:
            return Found(None, error.message)
        except Exception as error:  # a fault of ours is no reason for a member to end; and its text may hold anything
            log.error("the proof of %s has failed: %s", name, faults.describe(error))
            return Found(None, "a fault of keyturn's in the proof: please report it")
        clear = reading.meaning in (Meaning.KEY_REFUSED, Meaning.FORBIDDEN)
        return Found(reading.judgement.verdict, reading.words, clear)
