"""Amazon Bedrock: two keys of a user at most, which are disabled before they are deleted; and IAM gives them no names."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from keyturn.testing.vendors.aws_user import MOST, USER
from keyturn.testing.vendors.bedrock_api_key import BedrockSimulator
from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.vendors.rules import made_and_deleted
from tests.chaos.vendors.simulated import SimulatedAccount

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World

_ID = "CHAOS_VENDOR_ADMIN_ID"


class BedrockAccount(SimulatedAccount):
    """One IAM user, who has no key but this world's: a third could not be made. IAM shows nothing of a key's text, so which
    key a person made is said in keyturn.yaml (`key_id`)."""

    KIND, SIMULATOR = "bedrock_api_key", BedrockSimulator
    bystanders: ClassVar[tuple[str, ...]] = ()
    shows_hints: ClassVar[bool] = False
    vendor: BedrockSimulator

    def __init__(self, outside: Outside, world: str) -> None:
        super().__init__(outside, world)
        self._admin_id = "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, _ID: self._admin_id}

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        login = {"access_key_id": f"env:{_ID}", "secret_access_key": f"env:{self.ADMIN}"}
        at = {"endpoint_url": url, "sts_endpoint_url": url, "bedrock_endpoint_url": url}
        return {"region": "us-east-1", "user_name": USER, **login, **at}

    async def clear(self, world: World) -> None:
        """What a lost create left in the user's tags would name the key that a person made right after it."""
        self.vendor.tags.clear()

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        """An orphan here stops the next rotation, too: there is room for two."""
        keys = await self.keys()
        made_and_deleted(keys, watch.seen(current), left)
        if sum(not key.deleted for key in keys) >= MOST:
            left.unfinished.append("the user has no room for another key")
