"""A whole world in memory: a provider, a store, a fleet and a canary that agree with one another, on a clock of its own.

For tests and models of the lifecycle. Faults are switched on by attributes; nothing here needs a network or a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.config import CredentialSettings
from keyturn.errors import KeyturnError, LostAnswerError, NotFoundError, RollFailedError
from keyturn.material import KeyMaterial
from keyturn.model import (
    Capabilities,
    CreatedKey,
    Finding,
    Judgement,
    KeyRef,
    Mark,
    Member,
    SecretRef,
    Verdict,
    VersionRef,
)
from keyturn.ports import SecretStore
from keyturn.stores.memory import MemoryStore


class Clock:
    """Time that only moves when somebody pauses."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.moment = start

    def now(self) -> datetime:
        return self.moment

    async def pause(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


def new_key() -> KeyMaterial:
    return KeyMaterial("sk-" + secrets.token_hex(24))


@dataclass
class MemoryProvider:
    """Keys in a dict. `lose_answers`: so many creates commit and then raise. `fail`: verb name -> the error it raises."""

    clock: Clock
    capabilities: Capabilities = Capabilities(
        "create_delete", supports_expiry=True, reports_last_use=True, propagation=timedelta(seconds=30)
    )
    keys: dict[str, tuple[KeyRef, KeyMaterial]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    lose_answers: int = 0
    slow_to_accept: timedelta = timedelta(0)  # a fresh key is refused for so long
    fail: dict[str, KeyturnError] = field(default_factory=dict)
    verdict: Judgement | None = None  # instead of the truth, for every check
    made: int = 0

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("provider answers", True)]

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        self._maybe_fail("create")
        key = self.add(new_key(), label, expires_in)
        if self.lose_answers:
            self.lose_answers -= 1
            raise LostAnswerError("the answer to a create was lost")
        return key

    def add(self, material: KeyMaterial, name: str, expires_in: timedelta | None = None) -> CreatedKey:
        """A key made by somebody else, or by us."""
        self.made += 1
        text, now = material.reveal(), self.clock.now()
        ref = KeyRef(
            f"key_{self.made}", name, f"{text[:6]}...{text[-4:]}", "", now, None, now + expires_in if expires_in else None
        )
        self.keys[ref.id] = (ref, material)
        return CreatedKey(ref, material)

    async def list(self) -> Sequence[KeyRef]:
        self._maybe_fail("list")
        return [ref for ref, _ in self.keys.values()]

    async def find(self, label: str) -> Sequence[KeyRef]:
        return [ref for ref in await self.list() if ref.name == label]

    async def last_used(self, key: KeyRef) -> datetime | None:
        self._maybe_fail("last_used")
        if key.id not in self.keys:
            raise NotFoundError("no such key")
        return self.keys[key.id][0].last_used_at

    async def revoke(self, key: KeyRef) -> None:
        self._maybe_fail("revoke")
        if self.keys.pop(key.id, None):
            self.revoked.append(key.id)

    async def check(self, material: KeyMaterial) -> Judgement:
        self._maybe_fail("check")
        if self.verdict is not None:
            return self.verdict
        for ref, key in self.keys.values():
            young = ref.created_at is not None and self.clock.now() - ref.created_at < self.slow_to_accept
            if key == material and not young:
                return Judgement(Verdict.ACCEPTED, "the provider accepts it")
        return Judgement(Verdict.REJECTED, "the provider refuses it")

    def accepts(self, material: KeyMaterial) -> bool:
        return any(key == material for _, key in self.keys.values())

    def used(self, key_id: str) -> None:
        """Somebody calls the provider with this key, now."""
        ref, key = self.keys[key_id]
        self.keys[key_id] = (replace(ref, last_used_at=self.clock.now()), key)

    def _maybe_fail(self, verb: str) -> None:
        if verb in self.fail:
            raise self.fail[verb]

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class MemoryFleet:
    """Members that load the store's CURRENT when rolled. `bad`: names of members that never come back with a new key."""

    store: SecretStore
    secret: SecretRef
    names: tuple[str, ...] = ("one", "two")
    loaded: dict[str, VersionRef | None] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    rolls: list[str] = field(default_factory=list)

    async def start(self) -> None:
        for name in self.names:
            self.loaded[name] = (await self.store.current(self.secret)).version

    async def preflight(self, credential: str) -> Sequence[Finding]:
        return [Finding("members answer", True)]

    async def members(self) -> Sequence[Member]:
        return [Member(name, f"memory:{name}") for name in self.names]

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        return self.loaded.get(member.name)

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        if self.loaded.get(member.name) == version:
            return
        current = (await self.store.current(self.secret)).version
        if member.name in self.bad or current != version:
            raise RollFailedError(f"{member.name} did not come back with the new key")
        self.rolls.append(member.name)
        self.loaded[member.name] = current

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class MemoryCanary:
    """Tells the truth: asks the provider with the candidate, or with what CURRENT is."""

    provider: MemoryProvider
    store: SecretStore
    secret: SecretRef

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("canary answers", True)]

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return await self.provider.check(material)

    async def member(self, member: Member) -> Judgement:
        return await self.provider.check((await self.store.current(self.secret)).material)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """One credential `openai-prod` with a hand-made key in use, two members that serve it, and nothing half-way."""

    clock: Clock
    provider: MemoryProvider
    store: SecretStore
    secret: SecretRef
    fleet: MemoryFleet
    settings: CredentialSettings
    first_key: CreatedKey

    @classmethod
    async def make(cls, *, overlap: str = "1h", max_age: str | None = None) -> World:
        clock = Clock()
        provider = MemoryProvider(clock)
        first = provider.add(new_key(), "made by hand")
        secret = SecretRef("memory", "litellm/providers", "OPENAI_API_KEY")
        store = MemoryStore({secret.path: {"OPENAI_API_KEY": first.material.reveal(), "OTHER": "untouched"}})
        fleet = MemoryFleet(store, secret)
        await fleet.start()
        settings = CredentialSettings.model_validate(
            {
                "provider": "openai",
                "secrets": [{"store": "memory", "path": secret.path, "field": secret.field}],
                "canary": {"proxy": "local", "model": "gpt"},
                "proxies": ["local"],
                "overlap": overlap,
                "max_age": max_age,
            }
        )
        return cls(clock, provider, store, secret, fleet, settings, first)

    def worker(self) -> Assembly:
        """What a process on any machine would wire: the same world, nothing remembered."""
        return Assembly(
            name="openai-prod",
            settings=self.settings,
            mark=Mark.of("openai-prod", "memory"),
            provider=self.provider,
            secrets=((self.secret, self.store),),
            fleets={"local": self.fleet},
            canaries={"local": MemoryCanary(self.provider, self.store, self.secret)},
            now=self.clock.now,
            pause=self.clock.pause,
        )
