"""Perplexity: keys that cannot be listed, and are made and deleted by other keys, by their text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from keyturn.testing.vendors.perplexity import PerplexitySimulator
from tests.chaos.left import Left
from tests.chaos.vendors.rules import without_a_list
from tests.chaos.vendors.simulated import SimulatedAccount

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World


class PerplexityAccount(SimulatedAccount):
    """Of what is promised elsewhere one thing is not asked here: that a key which was made and never written is deleted.
    FACTS.risks say so: it cannot be seen. The judge counts it as left to a person."""

    KIND, SIMULATOR = "perplexity", PerplexitySimulator
    watches_stages: ClassVar[bool] = True

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base. The login is the key in service, where it is kept."""
        spot = world.credentials[0].spots[0]
        return {"key": f"store:{spot.store}/{spot.path}" + (f"#{spot.field}" if spot.field else ""), "base_url": url}

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        without_a_list(await self.keys(), watch.seen(current), left)
