"""OpenAI: keys that are made and deleted, each with an account of its own or all of one service account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.chaos.left import Left
from tests.chaos.outside import Outside
from tests.chaos.vendors.account import Account, Known, Made
from tests.chaos.vendors.rules import made_and_deleted

if TYPE_CHECKING:
    from tests.chaos.watch import Watch
    from tests.chaos.world import World


class OpenAIAccount(Account):
    """A project of the one OpenAI that all such worlds share. `owned`: keys are added to one service account."""

    KIND = "openai"

    def __init__(self, outside: Outside, world: str, *, owned: bool) -> None:
        self._outside, self._owned = outside, owned
        self.project = f"proj_{world}"
        self._account = f"svc_acct_litellm_{world.replace('-', '_')}"

    @property
    def port(self) -> int:
        return self._outside.provider_port

    @property
    def inference(self) -> str:
        return f"{self._outside.provider_url}/v1"

    def settings(self, url: str, world: World) -> dict[str, Any]:
        """See the base."""
        found = {"admin_key": "env:OPENAI_ADMIN_KEY", "project": self.project, "base_url": f"{url}/v1", "usage_lag": "0s"}
        return {**found, **({"service_account": self._account} if self._owned else {})}

    async def start(self, world: World) -> None:
        await self._outside.tell_provider("projects", id=self.project)
        await self._outside.tell_provider("service_accounts", project=self.project, name="litellm", id=self._account)

    async def new_key(self, name: str) -> Made:
        made = await self._outside.tell_provider("keys", project=self.project, name=name, account=self._account)
        return Made(made["id"], made["value"])

    async def keys(self) -> Sequence[Known]:
        return [
            Known(key["id"], key["name"], key["fingerprint"], key["accepted"], key["deletions"])
            for key in await self._outside.provider_keys(project=self.project)
        ]

    async def refused(self, fingerprints: set[str]) -> set[str]:
        found = await self._outside.provider_keys(fingerprint=sorted(fingerprints))
        return fingerprints - {key["fingerprint"] for key in found if key["accepted"]}

    async def delete(self, key: Known) -> None:
        url = f"{self._outside.provider_url}/v1/organization/projects/{self.project}/api_keys/{key.id}"
        headers = {"Authorization": f"Bearer {self._outside.environ['OPENAI_ADMIN_KEY']}"}
        (await self._outside.ask.delete(url, headers=headers)).raise_for_status()

    async def grow_old(self, seconds: float) -> None:
        await self._outside.tell_provider("age", project=self.project, seconds=seconds)

    async def judge(self, world: World, watch: Watch, current: Mapping[str, str], left: Left) -> None:
        made_and_deleted(await self.keys(), watch.seen(current), left)
