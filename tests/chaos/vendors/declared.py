"""Kind `http`: the vendor that docs/provider-http.md makes up, as the page declares it. Its keys can be suspended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.chaos.left import Left
from tests.chaos.vendors.rules import made_and_deleted
from tests.chaos.vendors.simulated import SimulatedAccount
from tests.providers.invented import AcmeSimulator
from tests.providers.on_the_page import declared

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World


class AcmeAccount(SimulatedAccount):
    """One organization at Acme."""

    KIND, SIMULATOR = "http", AcmeSimulator

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        return declared("acme", url, self.ADMIN)

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        made_and_deleted(await self.keys(), watch.seen(current), left)
