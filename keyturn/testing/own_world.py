"""A world in memory whose credential is what keyturn itself logs in with: each call at the vendor needs what is CURRENT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar

from keyturn.canary.own_login import OwnLoginCanary
from keyturn.errors import ConflictError, DeniedError
from keyturn.fleets.own import KeyturnItself
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, KeyRef, Member, VersionRef
from keyturn.ports import Canary
from keyturn.testing.world import MemoryFleet, MemoryProvider


@dataclass
class MemoryAdminKeys(MemoryProvider):
    """Every call but a check is made with `login`, counts as its use, and is denied where that key is refused.

    `unfit`: ids of keys that are accepted, and may not manage others. `makes_unfit`: every new one is such.
    """

    login: Callable[[], KeyMaterial] | None = None
    unfit: set[str] = field(default_factory=set)
    makes_unfit: bool = False

    def add(self, material: KeyMaterial, name: str, expires_in: timedelta | None = None) -> CreatedKey:
        made = super().add(material, name, expires_in)
        if self.makes_unfit:
            self.unfit.add(made.ref.id)
        return made

    def logged_in_with(self, material: KeyMaterial) -> MemoryProvider:
        """The same vendor, to whoever has this key."""
        return replace(self, login=lambda: material)

    def _maybe_fail(self, verb: str) -> None:
        super()._maybe_fail(verb)
        if verb == "check" or self.login is None:
            return
        key = self._own()
        if key is None or key in self.unfit or not self.check_quietly(self.keys[key][1]):
            raise DeniedError(f"the admin key is refused, and was asked to {verb}")
        self.used(key)

    def _own(self) -> str | None:
        own = self.login() if self.login is not None else None
        return next((id for id, (_, material) in self.keys.items() if material == own), None)

    async def revoke(self, key: KeyRef) -> None:
        if key.id == self._own():
            raise ConflictError("the key is the one that is logged in with")
        await super().revoke(key)


class ServedToItself(MemoryFleet):
    """The fleet of the kind `keyturn`, over the store."""

    REFERENCE: ClassVar[str] = "store:memory/litellm/providers#OPENAI_API_KEY"

    @property
    def loaded(self) -> dict[str, VersionRef | None]:
        """What is read anew for each call is loaded at once."""
        return {"keyturn": VersionRef("", self.login().fingerprint())}

    @loaded.setter
    def loaded(self, value: dict[str, VersionRef | None]) -> None:
        """Nothing is kept."""

    def login(self) -> KeyMaterial:
        documents = self.store.documents  # type: ignore[attr-defined]  # in memory
        return KeyMaterial(documents[self.secret.path][self.secret.field])

    async def start(self) -> None:
        self.names = ("keyturn",)

        async def resolve(reference: str) -> KeyMaterial:
            return (await self.store.current(self.secret)).material

        self.itself = KeyturnItself(KeyturnItself.Settings(), resolve, lambda _: self.REFERENCE, _at_once)

    async def preflight(self, credential: str) -> Sequence[Finding]:
        return await self.itself.preflight(credential)

    async def members(self) -> Sequence[Member]:
        return await self.itself.members()

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        return await self.itself.serving(member, credential)

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        await self.itself.roll(member, credential, version)
        self.rolls.append(member.name)

    def canary(self, provider: MemoryProvider) -> Canary:
        async def current() -> KeyMaterial:
            return (await self.store.current(self.secret)).material

        if not isinstance(provider, MemoryAdminKeys):
            raise TypeError("a world whose provider makes no logins")
        return OwnLoginCanary(provider.check, provider.logged_in_with, current)


async def _at_once(_: float) -> None:
    """Nothing changes by waiting here."""
