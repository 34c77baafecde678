"""The kinds `memory` of a provider, a store and proxies, as keyturn.yaml would name them: what a fleet is measured on.

Ten credentials share a provider and proxies, and all share the store. Time is the machine's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from pydantic import BaseModel, ConfigDict

import keyturn.assembly
from keyturn import registry
from keyturn.material import KeyMaterial
from keyturn.model import Capabilities, Finding, Judgement, Member, SecretRef, VersionRef
from keyturn.ports import SecretStore
from keyturn.references import Resolver
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import MemoryProvider, new_key

SHARING = 10  # credentials of one provider and its proxies
MEMBERS = ("one", "two")
FIELD = "OPENAI_API_KEY"


class PartSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    number: int = 0
    master_key: str = "env:KEYTURN_BENCH_MASTER_KEY"


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Provider(MemoryProvider):
    """`first`: the keys that are in use before anything is rotated, by the provider's number."""

    Settings: ClassVar[type[BaseModel]] = PartSettings
    first: ClassVar[dict[int, list[KeyMaterial]]] = {}

    def __init__(self, settings: PartSettings, resolve: Resolver) -> None:
        clock: Any = _Clock()
        super().__init__(clock, Capabilities("create_delete", supports_expiry=True, propagation=timedelta(0)))
        for material in self.first.get(settings.number, ()):
            self.add(material, "made by hand")


class Store(MemoryStore):
    """`held`: what is in it."""

    Settings: ClassVar[type[BaseModel]] = PartSettings
    held: ClassVar[dict[str, Any]] = {}

    def __init__(self, settings: BaseModel, resolve: Resolver) -> None:
        super().__init__(self.held)


class Fleet:
    """Its members load what the store holds when they are rolled."""

    Settings: ClassVar[type[BaseModel]] = PartSettings
    NEEDS: ClassVar[tuple[str, ...]] = ("stores", "secrets")

    def __init__(
        self,
        settings: BaseModel,
        resolve: Resolver,
        *,
        stores: Callable[[str], SecretStore],
        secrets: Callable[[str], Sequence[SecretRef]],
    ) -> None:
        self._stores, self._secrets = stores, secrets
        self.loaded: dict[tuple[str, str], VersionRef] = {}

    async def preflight(self, credential: str) -> Sequence[Finding]:
        return [Finding("members answer", True)]

    async def members(self) -> Sequence[Member]:
        return [Member(name, f"memory:{name}") for name in MEMBERS]

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        if (member.name, credential) not in self.loaded:
            secret = self._secrets(credential)[0]
            version = (await self._stores(secret.store).current(secret)).version
            self.loaded.update({(name, credential): version for name in MEMBERS})
        return self.loaded[member.name, credential]

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        self.loaded[member.name, credential] = version

    async def aclose(self) -> None:
        """Nothing is open."""


class _Canary:
    """Asks the provider. The model is named as the credential."""

    def __init__(self, *, members: Any, check: Any, model: str, **_: Any) -> None:
        self._fleet: Fleet = members.__self__
        self._provider: Provider = check.__self__
        self._credential = model

    async def preflight(self) -> Sequence[Finding]:
        return [Finding("canary answers", True)]

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return await self._provider.check(material)

    async def member(self, member: Member) -> Judgement:
        loaded = self._fleet.loaded[member.name, self._credential]
        return self._provider.try_out(loaded.fingerprint, is_use=True)

    async def aclose(self) -> None:
        """Nothing is open."""


def write_config(path: Path, count: int, store: dict[str, Any], fill: Callable[[str, KeyMaterial], None]) -> None:
    """A keyturn.yaml of so many credentials, each with a key in use. `fill`: puts that into the store."""
    numbers = range(-(-count // SHARING))
    Provider.first.clear()
    credentials = {}
    for index in range(count):
        name, number, key = f"credential-{index:04d}", index // SHARING, new_key()
        Provider.first.setdefault(number, []).append(key)
        fill(name, key)
        credentials[name] = {
            "provider": f"org-{number}",
            "secrets": [{"store": "store", "path": name, "field": FIELD}],
            "canary": {"proxy": f"proxies-{number}", "model": name},
            "proxies": [f"proxies-{number}"],
            "env": f"KEY_{index:04d}",
            "overlap": "24h",
        }
    content = {
        "providers": {f"org-{number}": {"kind": "memory", "number": number} for number in numbers},
        "stores": {"store": store},
        "proxies": {f"proxies-{number}": {"kind": "memory", "number": number} for number in numbers},
        "credentials": credentials,
    }
    path.write_text(json.dumps(content))


def fill_memory(name: str, key: KeyMaterial) -> None:
    Store.held[name] = {"OTHER": "x", FIELD: key.reveal()}


@contextmanager
def known() -> Iterator[None]:
    """While this is open, keyturn.yaml may name these kinds, and canaries ask them."""
    kinds = {"PROVIDERS": "Provider", "STORES": "Store", "FLEETS": "Fleet"}
    with patch.object(keyturn.assembly, "LiteLLMCanary", _Canary):
        for table, name in kinds.items():
            getattr(registry, table)["memory"] = f"{__name__}:{name}"
        try:
            yield
        finally:
            for table in kinds:
                del getattr(registry, table)["memory"]
