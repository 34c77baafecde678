"""Keys that are given another text: at xAI the old one lives on for hours, at Cloudflare it is refused at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from keyturn.material import KeyMaterial
from keyturn.testing.vendors import cloudflare, xai
from keyturn.testing.vendors.service import Key, Simulator
from tests.chaos import clock
from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.vendors.rules import turned_in_place
from tests.chaos.vendors.simulated import SimulatedAccount

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World

_LIVES = timedelta(hours=2)  # an old text, where it does
_BETWEEN_CASES = timedelta(hours=3)


class _Remembering(Simulator):
    """`turned_from`: fingerprints of the texts in whose place a key was given another."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.turned_from: list[str] = []

    def turn_key(self, key: Key, old_lives: float) -> tuple[Key, KeyMaterial]:
        self.turned_from.append(key.fingerprint)
        return super().turn_key(key, old_lives)


class _RememberingXAI(_Remembering, xai.XAISimulator):
    pass


class _RememberingCloudflare(_Remembering, cloudflare.CloudflareSimulator):
    pass


class TurnedAccount(SimulatedAccount):
    """Its world has a time of its own. Hours go by before each case: while the note of an old text that may live says so, no
    key is turned."""

    vendor: _Remembering

    def __init__(self, outside: Outside, world: str) -> None:
        super().__init__(outside, world)
        self._clock = clock.Clock(outside.folder / "clocks" / world)
        self.vendor.clock = self._clock.time
        self._served: set[str] = set()  # in any case

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, clock.VARIABLE: str(self._clock.file)}

    def now(self) -> datetime:
        return self._clock.now()

    async def prepare(self, world: World) -> None:
        self._clock.forward(_BETWEEN_CASES)

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        seen = watch.seen(current)
        self._served |= {*seen.served}
        turned_in_place(await self.keys(), self.vendor.turned_from, replace(seen, served=self._served), left)


class XAIAccount(TurnedAccount):
    """A team's keys. The old text of one lives for two hours."""

    KIND, SIMULATOR = "xai", _RememberingXAI

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        login = {"management_key": f"env:{self.ADMIN}", "base_url": url, "api_url": url}
        return {"team": xai.TEAM, "acls": ["api-key:model:*"], "in_place": f"{_LIVES // timedelta(hours=1)}h", **login}


class CloudflareAccount(TurnedAccount):
    """An account's tokens, whose list shows nothing of their texts.

    One promise is weaker here, and by the setting's own word: from the turn until every member is rolled, what is served is
    refused, and after a run that died there until the next one has made a token of its own. Such an outage is not counted,
    of a text that was turned away from and of no other; that there is none in the end is demanded.
    """

    KIND, SIMULATOR = "cloudflare", _RememberingCloudflare
    shows_hints: ClassVar[bool] = False

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        found = {"management_token": f"env:{self.ADMIN}", "account": cloudflare.ACCOUNT, "like": cloudflare.TEMPLATE}
        return {**found, "in_place": "without_overlap", "base_url": f"{url}/client/v4"}

    async def refused(self, fingerprints: set[str]) -> set[str]:
        return await super().refused(fingerprints) - set(self.vendor.turned_from)
