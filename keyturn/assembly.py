"""A credential together with the adapters it needs: what every step is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from keyturn.audit.writer import Audit
from keyturn.canary import LiteLLMCanary
from keyturn.canary.own_login import OwnLoginCanary
from keyturn.config import Config, load
from keyturn.delivery.keys import Variable
from keyturn.delivery.variable_names import PARTS_BY_PROVIDER_KIND, Names, names_of
from keyturn.delivery.variables import variable_of
from keyturn.deploy_settings import FollowsSettings
from keyturn.errors import MisconfiguredError
from keyturn.evidence import Evidence
from keyturn.journal import Journal
from keyturn.key_parts import Part as KeyPart
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Judgement, Mark, SecretRef, Stage
from keyturn.parts import Part
from keyturn.patience import Patience
from keyturn.ports import Canary, KeyProvider, Lease, OneLook, ProxyFleet, SecretStore
from keyturn.references import Resolver, resolver
from keyturn.registry import adapter_class, needs
from keyturn.settings import CredentialSettings, ProviderLimits
from keyturn.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a rotation's timeline: when, in which step, what happened, in words without key text."""

    at: datetime
    step: str
    sentence: str
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a run came to: in a few words, the sentence behind it, and what is to be done next. For its page."""

    word: str
    sentence: str
    next: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Assembly:
    """One credential, wired. Time comes in through `now` and `pause`, so that tests turn the clock themselves."""

    name: str
    settings: CredentialSettings
    mark: Mark
    provider: KeyProvider
    secrets: tuple[tuple[SecretRef, SecretStore], ...]
    fleets: Mapping[str, ProxyFleet]
    canaries: Mapping[str, Canary]  # one for each fleet: their master keys differ
    traffic: Mapping[str, Traffic] = field(default_factory=dict)  # of each fleet whose counters are to be looked at
    parts: tuple[KeyPart, ...] = ()  # of a key of several parts
    patience: Patience = field(default_factory=Patience)
    limits: ProviderLimits = field(default_factory=ProviderLimits)  # how much at once at its provider
    now: Callable[[], datetime] = _utc_now
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    listener: Callable[[Line], None] | None = None
    timeline: list[Line] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)  # what was gathered last, one for each old key
    asked_for: dict[str, str] = field(default_factory=dict)  # the run's flow and parameters, in words
    ending: Ending | None = None  # when there is one
    audit: Audit | None = None  # where keyturn.yaml asks for one
    follows: FollowsSettings | None = None  # the environment before this one
    earlier: Callable[[], Awaitable[Journal | None]] | None = None  # what is noted there; None: no such credential

    @property
    def decider(self) -> tuple[SecretRef, SecretStore]:
        """The first secret: its stages say where the rotation stands."""
        return self.secrets[0]

    @property
    def canary(self) -> Canary:
        return self.canaries[self.settings.canary_proxy]

    @property
    def propagation(self) -> timedelta:
        """How long a fresh key may be refused, and a dead one accepted."""
        chosen = self.settings.canary.propagation
        return self.provider.capabilities.propagation if chosen is None else chosen

    async def judge(self, material: KeyMaterial) -> Judgement:
        """Whether a key that need not be served is accepted: by the provider's own word, or where it has none, LiteLLM's."""
        ask = self.provider.check if self.provider.capabilities.can_check else self.canary.candidate
        return await ask(material)

    def say(self, step: str, sentence: str) -> None:
        """Add a line to the timeline. The sentence is kept in Prefect: references and words only."""
        line = Line(self.now(), step, sentence, self.name)
        self.timeline.append(line)
        if self.listener is not None:
            self.listener(line)


class Adapters:
    """Every adapter of a configuration, each built once, on use."""

    def __init__(self, config: Config, resolve: Resolver | None = None) -> None:
        self.config = config
        self.resolve = resolve or resolver(self._read_store)
        self._built: dict[tuple[str, str], Any] = {}
        self._earlier: Adapters | None = None

    def provider(self, name: str) -> KeyProvider:
        built: KeyProvider = self._build("providers", name, self.config.providers)
        return built

    def store(self, name: str) -> SecretStore:
        if name not in self.config.stores:
            raise MisconfiguredError(
                "a store: reference names no store", remedy=f"use one of: {', '.join(self.config.stores)}"
            )
        built: SecretStore = self._build("stores", name, self.config.stores)
        return built

    def fleet(self, name: str) -> ProxyFleet:
        built: ProxyFleet = self._build("proxies", name, self.config.proxies)
        return built

    async def held(self, credential: str) -> Mapping[Stage, HeldKey]:
        """What the deciding secret of a credential holds, by stage. NotFoundError where it changes meanwhile."""
        secret = self.config.credential(credential).secrets[0]
        store = self.store(secret.store)
        if isinstance(store, OneLook):
            return (await store.look(secret.ref)).held
        stages = await store.stages(secret.ref)
        return {stage: HeldKey(version, await store.read(secret.ref, version)) for stage, version in stages.items()}

    def parts(self, credential: str) -> tuple[KeyPart, ...]:
        return parts_of(self.config, self.config.credential(credential))

    async def earlier(self, credential: str) -> Journal | None:
        """What is noted of this credential in the environment before; None: it is not there. Only notes are read: no value,
        and nothing at any other part of that environment."""
        follows = self.config.follows
        if follows is None:
            return None
        if self._earlier is None:
            self._earlier = Adapters(load(follows.file or self.config.path, follows.environment, {"stores": follows.stores}))
        if credential not in self._earlier.config.credentials:
            return None
        secret = self._earlier.config.credential(credential).secrets[0]
        return Journal.parse(await self._earlier.store(secret.store).annotations(secret.ref))

    def lease(self, name: str) -> Lease:
        built: Lease = self._build("leases", name, self.config.leases)
        return built

    def canary(self, name: str, fleet: str) -> Canary:
        """Of one credential, at one of its fleets."""
        credential = self.config.credential(name)
        if self.config.proxies[fleet].is_keyturn:
            return self._own_canary(name, credential)
        settings: Any = self.config.proxies[fleet].settings

        async def master_key() -> KeyMaterial:
            return await self.resolve(settings.master_key)

        provider = self.provider(credential.provider)
        return LiteLLMCanary(
            members=self.fleet(fleet).members,
            master_key=master_key,
            model=credential.canary.model,
            deployment=credential.canary.deployment,
            check=provider.check if provider.capabilities.can_check else None,
            timeout=credential.canary.timeout,
            parts=parts_of(self.config, credential),
        )

    def _own_canary(self, name: str, credential: CredentialSettings) -> Canary:
        part, reference = self.config.providers[credential.provider], self.config.login_of(name)

        def logged_in_with(material: KeyMaterial) -> KeyProvider:
            async def resolve(asked: str) -> KeyMaterial:
                return material if asked == reference else await self.resolve(asked)

            made: KeyProvider = adapter_class("providers", part.kind)(part.settings, resolve)
            return made

        return OwnLoginCanary(self.provider(part.name).check, logged_in_with, lambda: self.resolve(reference))

    def traffic(self, name: str, fleet: str) -> Traffic | None:
        """What the proxies of a fleet tell of their requests, where this credential's roll looks at that."""
        errors, part = self.config.credential(name).roll.errors, self.config.proxies[fleet]
        settings: Any = part.settings
        if errors is None or part.is_keyturn:
            return None
        # On use: a program that embeds LiteLLM has this module too (KeyRing), and no client of Prometheus.
        from keyturn.canary.requests_failed import RequestsFailed

        return RequestsFailed(lambda: self.resolve(settings.master_key), errors.path, errors.model)

    async def aclose(self) -> None:
        for adapter in self._built.values():
            await adapter.aclose()
        if self._earlier is not None:
            await self._earlier.aclose()

    def _build(self, section: str, name: str, parts: Mapping[str, Part]) -> Any:
        if (section, name) not in self._built:
            part = parts[name]
            adapter = adapter_class(section, part.kind)
            more = {name: self._given[name] for name in needs(adapter)}
            self._built[section, name] = adapter(part.settings, self.resolve, **more)
        return self._built[section, name]

    @property
    def _given(self) -> Mapping[str, Any]:
        """What adapters may name in `NEEDS`: see keyturn.registry."""
        return {
            "stores": self.store,
            "logins": self.config.login_of,
            "secrets": self.config.secrets_of,
            "variables": self._variables,
            "keys": self._variable,
            "held": self.held,
            "parts": self.parts,
        }

    def _variable(self, credential: str) -> Variable:
        return variable_of(self.config, credential, self.store)

    def _variables(self, name: str) -> Names | None:
        credential = self.config.credential(name)
        return names_of(credential.env, credential.secrets[0].field, self.config.providers[credential.provider].kind)

    async def _read_store(self, secret: SecretRef) -> KeyMaterial:
        return (await self.store(secret.store).current(secret)).material


@asynccontextmanager
async def assemble(
    config: Config, name: str, listener: Callable[[Line], None] | None = None, adapters: Adapters | None = None
) -> AsyncIterator[Assembly]:
    """Wire one credential; its connections are closed at the end. MisconfiguredError for a name that is not there."""
    settings = config.credential(name)
    own = adapters or Adapters(config)
    canaries: dict[str, Canary] = {}
    traffic: dict[str, Traffic] = {}
    try:
        for fleet in dict.fromkeys((settings.canary_proxy, *settings.proxies)):
            canaries[fleet] = own.canary(name, fleet)
        traffic = {fleet: found for fleet in settings.proxies if (found := own.traffic(name, fleet)) is not None}
        yield Assembly(
            name=name,
            settings=settings,
            mark=Mark.of(name, address_of(config, settings)),
            provider=own.provider(settings.provider),
            secrets=tuple((secret.ref, own.store(secret.store)) for secret in settings.secrets),
            fleets={fleet: own.fleet(fleet) for fleet in settings.proxies},
            canaries=canaries,
            traffic=traffic,
            parts=parts_of(config, settings),
            patience=config.sweep.patience,
            limits=config.providers[settings.provider].limits,
            listener=listener,
            follows=config.follows,
            earlier=partial(own.earlier, name) if config.follows is not None else None,
            audit=Audit(config.audit, own.resolve) if config.audit is not None else None,
        )
    finally:
        for canary in canaries.values():
            await canary.aclose()
        for counters in traffic.values():
            await counters.aclose()
        if adapters is None:
            await own.aclose()


def parts_of(config: Config, settings: CredentialSettings) -> tuple[KeyPart, ...]:
    """Of the credential's keys; () where they are one text."""
    return PARTS_BY_PROVIDER_KIND.get(config.providers[settings.provider].kind, ())


_PLACE = ("address", "namespace", "mount", "region", "role_arn", "profile", "folder", "server", "kubeconfig", "context")


def address_of(config: Config, settings: CredentialSettings) -> str:
    """Where the deciding secret is, in the world and not only in this file: it goes into the mark of our keys."""
    secret = settings.secrets[0]
    part = config.stores[secret.store]
    where = [str(getattr(part.settings, name, None) or "") for name in _PLACE]
    return "|".join((part.kind, *where, secret.path, secret.field or ""))
