"""A fleet in memory whose platform replaces its members, as Kubernetes and ECS do: the port `Replacing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from keyturn.errors import RollFailedError
from keyturn.model import Member, VersionRef
from keyturn.testing.world import MemoryFleet

WORKLOAD = "deployment"


@dataclass
class MemoryWorkloads(MemoryFleet):
    """One workload. `template`: the rollout that new members are made for; `made_for`: the one of each member.

    A member of `bad` does not become ready: the platform keeps what it was to replace, which serves on.
    """

    template: str = ""
    made_for: dict[str, str] = field(default_factory=dict)

    async def workloads(self) -> Sequence[str]:
        return (WORKLOAD,)

    async def was_rolled(self, workload: str, credential: str, rollout: str) -> bool:
        return self.template == rollout

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """Of a member that is not of the newest template nothing is known: its program may have restarted since."""
        return self.loaded.get(member.name) if self.made_for.get(member.name, "") == self.template else None

    async def replace(
        self, workload: str, credential: str, version: VersionRef, rollout: str, proved: Callable[[Member], Awaitable[None]]
    ) -> None:
        current = (await self.store.current(self.secret)).version
        if current != version:
            raise RollFailedError("what members read is another version")
        self.template = rollout
        for name in self.names:
            if self.made_for.get(name) == rollout:
                continue
            if name in self.bad:
                raise RollFailedError(f"{name} did not become ready with the new key")
            self.loaded[name], self.made_for[name] = current, rollout
            self.rolls.append(name)
            await proved(Member(name, f"memory:{name}"))
