"""A whole world in memory: a provider, a store, a fleet and a canary that agree with one another, on a clock of its own.

For tests and models of the lifecycle. Faults are switched on by attributes; nothing here needs a network or a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keyturn.assembly import Assembly
from keyturn.errors import (
    ConflictError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    RollFailedError,
)
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
from keyturn.ports import Canary, SecretStore
from keyturn.settings import CredentialSettings
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
    """Keys in a dict. `lose_answers`: so many creates commit and then raise. `fail`: verb name -> the error it raises.

    `checks_are_uses`: a key that is checked counts as used, as some vendors have it. `asked_to_delete`: every key that a
    revoke named, as it named it. `new_key`: the text of the next key.
    """

    clock: Clock
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            "create_delete", supports_expiry=True, reports_last_use=True, propagation=timedelta(seconds=30)
        )
    )
    keys: dict[str, tuple[KeyRef, KeyMaterial]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    asked_to_delete: list[KeyRef] = field(default_factory=list)
    lose_answers: int = 0
    slow_to_accept: timedelta = timedelta(0)  # a fresh key is refused for so long
    fail: dict[str, KeyturnError] = field(default_factory=dict)
    verdict: Judgement | None = None  # instead of the truth, for every check
    refuses_new: bool = False  # every key made from now on is refused for good
    checks_are_uses: bool = False
    made: int = 0
    dud: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    new_key: Callable[[], KeyMaterial] = new_key

    async def begin(self) -> None:
        """What people do before the first rotation."""

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("provider answers", True)]

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        self._maybe_fail("create")
        if (most := self.capabilities.max_live_keys) is not None and len(self.keys) >= most:
            raise PermanentError("there are as many keys as there may be")
        key = self.add(self.new_key(), label, expires_in)
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
        if self.refuses_new:
            self.dud.add(ref.id)
        return CreatedKey(ref, material)

    async def list(self) -> Sequence[KeyRef]:
        self._maybe_fail("list")
        if not self.capabilities.can_list:
            raise MisconfiguredError("this provider cannot list its keys, and was asked to")
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
        self.asked_to_delete.append(key)
        if self.keys.pop(key.id, None):
            self.revoked.append(key.id)

    async def disable(self, key: KeyRef) -> None:
        """Where the capabilities say that it can."""
        self._maybe_fail("disable")
        if key.id not in self.keys:
            raise NotFoundError("no such key")
        self.disabled.add(key.id)

    async def enable(self, key: KeyRef) -> None:
        self._maybe_fail("enable")
        self.disabled.discard(key.id)

    async def check(self, material: KeyMaterial) -> Judgement:
        self._maybe_fail("check")
        if self.verdict is not None:
            return self.verdict
        return self.try_out(material.fingerprint(), is_use=self.checks_are_uses)

    def try_out(self, fingerprint: str, *, is_use: bool) -> Judgement:
        """What the provider says to whoever calls it with the key of this fingerprint."""
        for ref, key in list(self.keys.values()):
            young = ref.created_at is not None and self.clock.now() - ref.created_at < self.slow_to_accept
            if key.fingerprint() == fingerprint and not young and ref.id not in (*self.dud, *self.disabled):
                if is_use:
                    self.used(ref.id)
                return Judgement(Verdict.ACCEPTED, "the provider accepts it")
        return Judgement(Verdict.REJECTED, "the provider refuses it")

    def check_quietly(self, material: KeyMaterial) -> bool:
        """Whether it would be accepted now; nobody has used it for that."""
        return self.try_out(material.fingerprint(), is_use=False).verdict is Verdict.ACCEPTED

    def accepts(self, material: KeyMaterial) -> bool:
        return self.knows(material.fingerprint())

    def knows(self, fingerprint: str) -> bool:
        """Whether a live key has this fingerprint."""
        return any(key.fingerprint() == fingerprint and ref.id not in self.disabled for ref, key in self.keys.values())

    async def left_over(self, in_service: str) -> Sequence[str]:
        """Keys of ours, but for the one of this fingerprint."""
        kept = [ref.name for ref, key in self.keys.values() if key.fingerprint() != in_service]
        return [name for name in kept if name.startswith("keyturn-")]

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
class MemorySlots(MemoryProvider):
    """Two keys that always exist, as Azure has them: the idle one is made anew, which ends its old text at once.

    A slot that was made by hand is `name`d "", like every other: there are no labels.
    """

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        raise MisconfiguredError("there are two slots, and no more")

    def add(self, material: KeyMaterial, name: str, expires_in: timedelta | None = None) -> CreatedKey:
        """The first two fill the slots."""
        made = self._fill(f"slot{len(self.keys) + 1}", material)
        if len(self.keys) == 1:
            self._fill("slot2", self.new_key())
        return made

    def _fill(self, slot: str, material: KeyMaterial) -> CreatedKey:
        self.made += 1
        for id in [id for id in self.keys if id.startswith(f"{slot}:")]:
            del self.keys[id]
        fingerprint = material.fingerprint()
        ref = KeyRef(f"{slot}:{fingerprint}", "", fingerprint=fingerprint)
        self.keys[ref.id] = (ref, material)
        if self.refuses_new:
            self.dud.add(ref.id)
        return CreatedKey(ref, material)

    async def text(self, slot: KeyRef) -> KeyMaterial:
        self._maybe_fail("list")
        if slot.id not in self.keys:
            raise ConflictError("the slot is not what it was")
        return self.keys[slot.id][1]

    async def renew(self, idle: KeyRef, held: Collection[str]) -> CreatedKey:
        self._maybe_fail("create")
        if idle.id not in self.keys or idle.fingerprint in held:
            raise ConflictError("the slot is not what it was")
        key = self._fill(idle.id.partition(":")[0], self.new_key())
        if self.lose_answers:
            self.lose_answers -= 1
            raise LostAnswerError("the answer to a renewal was lost")
        return key

    async def revoke(self, key: KeyRef) -> None:
        self._maybe_fail("revoke")
        self.asked_to_delete.append(key)
        if key.id in self.keys:
            self._fill(key.id.partition(":")[0], self.new_key())
            self.revoked.append(key.id)


@dataclass
class MemoryFleet:
    """Members that load the store's CURRENT when rolled. `bad`: names of members that never come back with a new key.

    `answers`: what a call through a member ends with, in place of the truth; of one key alone, where a fingerprint is named.
    """

    store: SecretStore
    secret: SecretRef
    names: tuple[str, ...] = ("one", "two")
    loaded: dict[str, VersionRef | None] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    rolls: list[str] = field(default_factory=list)
    answers: dict[tuple[str, str | None], Judgement] = field(default_factory=dict)

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

    def canary(self, provider: MemoryProvider) -> Canary:
        return MemoryCanary(provider, self)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class MemoryCanary:
    """Tells the truth: asks the provider with the candidate, or with what the member has loaded."""

    provider: MemoryProvider
    fleet: MemoryFleet

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("canary answers", True)]

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return await self.provider.check(material)

    async def member(self, member: Member) -> Judgement:
        if self.provider.verdict is not None:
            return self.provider.verdict
        version = self.fleet.loaded.get(member.name)
        for key in (version.fingerprint if version else "", None):
            if (told := self.fleet.answers.get((member.name, key))) is not None:
                return told
        return self.provider.try_out(version.fingerprint if version else "", is_use=True)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """One credential `openai-prod` with a hand-made key in use, members that serve it, and nothing half-way.

    With `stores=2` a second store follows the first, and a second fleet, `far`, is fed from it.
    """

    clock: Clock
    provider: MemoryProvider
    secrets: tuple[tuple[SecretRef, MemoryStore], ...]
    fleets: dict[str, MemoryFleet]
    settings: CredentialSettings
    first_key: CreatedKey

    @classmethod
    async def make(
        cls,
        *,
        overlap: str = "1h",
        max_age: str | None = None,
        stores: int = 1,
        keys: Callable[[], KeyMaterial] = new_key,
        made_of: type[MemoryStore] = MemoryStore,
        provider_of: Callable[..., MemoryProvider] = MemoryProvider,
        fleet_of: Callable[..., MemoryFleet] = MemoryFleet,
    ) -> World:
        """`keys`: where the text of every key comes from. `made_of`, `provider_of`, `fleet_of`: what each store, the
        provider and each fleet are."""
        clock = Clock()
        provider = provider_of(clock, new_key=keys)
        await provider.begin()
        first = provider.add(keys(), "made by hand")
        secrets, fleets = [], {}
        for name, fleet in list(zip(("memory", "second"), ("local", "far"), strict=True))[:stores]:
            secret = SecretRef(name, "litellm/providers", "OPENAI_API_KEY")
            store = made_of({secret.path: {"OPENAI_API_KEY": first.material.reveal(), "OTHER": "untouched"}})
            secrets.append((secret, store))
            fleets[fleet] = fleet_of(store, secret)
            await fleets[fleet].start()
        settings = CredentialSettings.model_validate(
            {
                "provider": "openai",
                "secrets": [{"store": ref.store, "path": ref.path, "field": ref.field} for ref, _ in secrets],
                "canary": {"proxy": "local", "model": "gpt"},
                "proxies": list(fleets),
                "overlap": overlap,
                "max_age": max_age,
            }
        )
        return cls(clock, provider, tuple(secrets), fleets, settings, first)

    @property
    def secret(self) -> SecretRef:
        return self.secrets[0][0]

    @property
    def store(self) -> MemoryStore:
        return self.secrets[0][1]

    @property
    def fleet(self) -> MemoryFleet:
        return self.fleets["local"]

    def change_by_hand(self, material: KeyMaterial, store: int = 0) -> None:
        """An operator writes another value over CURRENT, past keyturn."""
        secret, where = self.secrets[store]
        document = where.documents[secret.path]
        assert isinstance(document, dict)
        document["OPENAI_API_KEY"] = material.reveal()

    def worker(self) -> Assembly:
        """What a process on any machine would wire: the same world, nothing remembered."""
        return Assembly(
            name="openai-prod",
            settings=self.settings,
            mark=Mark.of("openai-prod", "memory"),
            provider=self.provider,
            secrets=self.secrets,
            fleets=dict(self.fleets),
            canaries={name: fleet.canary(self.provider) for name, fleet in self.fleets.items()},
            now=self.clock.now,
            pause=self.clock.pause,
        )
