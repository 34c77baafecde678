"""Azure OpenAI: two keys that always exist, made anew by the name of their slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from keyturn.testing.vendors.azure_openai import ACCOUNT, GROUP, SUBSCRIPTION, AzureSimulator
from tests.chaos.left import Left
from tests.chaos.vendors.account import Known, Made
from tests.chaos.vendors.rules import two_slots
from tests.chaos.vendors.simulated import SimulatedAccount

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World


class AzureAccount(SimulatedAccount):
    """One account of Azure. Nobody else has a key of it: there are two.

    One promise is weaker here, and FACTS.risks say so: a slot is made anew by its name, so a call that arrives when another
    worker has finished the rotation ends the key that is in service by then. Such an outage is not counted; that the next
    run ends it is demanded.
    """

    KIND, SIMULATOR = "azure_openai", AzureSimulator
    bystanders: ClassVar[tuple[str, ...]] = ()
    late_kills: ClassVar[str] = "regenerateKey"
    vendor: AzureSimulator

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        place = {"subscription": SUBSCRIPTION, "resource_group": GROUP, "account": ACCOUNT}
        login = {"access_token": f"env:{self.ADMIN}", "owns_both_keys": True}
        return {**place, **login, "base_url": url, "endpoint": url}

    async def new_key(self, name: str) -> Made:
        """The first slot's, made anew."""
        key, material = self.vendor.fill("key1")
        return Made(key.id, material.reveal())

    async def delete(self, key: Known) -> None:
        self.vendor.fill(key.name)

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        two_slots(await self.keys(), watch.seen(current), left)
