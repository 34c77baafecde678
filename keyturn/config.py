"""keyturn.yaml: read, checked as a whole, every fault reported at once with its path and line, no value ever quoted."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from keyturn import durations, environments
from keyturn.audit.writer import AuditSettings
from keyturn.config_texts import listed, printable, reached_from, sentence_of, texts_of
from keyturn.delivery.variable_names import env_fault, names_of
from keyturn.deploy_settings import DeploySettings, FollowsSettings
from keyturn.document import LARGEST, Document, Fault, Loc, read
from keyturn.errors import MisconfiguredError
from keyturn.incident_settings import IncidentSettings, faults_of_incidents
from keyturn.key_shapes import literal_keys, masked
from keyturn.model import SecretRef
from keyturn.own_logins import login_of, referring
from keyturn.parts import Part, part_of
from keyturn.references import STORE_REFERENCE, parse_store_reference
from keyturn.registry import adapter_class
from keyturn.serving import faults_of_serving
from keyturn.settings import CredentialSettings, InventorySettings, ProviderLimits, RotateManySettings, SweepSettings

DEFAULT_PATH = "keyturn.yaml"
PATH_VARIABLE = "KEYTURN_CONFIG"

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # short enough for provider key names, plain enough for run names
_FURTHER = ("sweep", "rotate_many", "inventory", "audit", "deploy", "follows", "incidents")
_UNSUPERVISED = ("command", "docker", "systemd")  # what is given its keys once, when it starts
_KEY_FAULT = "looks like a literal key (not printed): take it out, use a reference, and rotate it"


@dataclass(frozen=True, slots=True)
class Config:
    """keyturn.yaml, checked."""

    path: Path
    providers: Mapping[str, Part]
    stores: Mapping[str, Part]
    proxies: Mapping[str, Part]
    credentials: Mapping[str, CredentialSettings]
    sweep: SweepSettings = field(default_factory=SweepSettings)
    leases: Mapping[str, Part] = field(default_factory=dict)
    deploy: DeploySettings = field(default_factory=DeploySettings)
    incidents: IncidentSettings | None = None
    environment: str = ""
    audit: AuditSettings | None = None
    inventory: InventorySettings = field(default_factory=InventorySettings)
    follows: FollowsSettings | None = None
    rotate_many: RotateManySettings = field(default_factory=RotateManySettings)

    def references(self, pattern: re.Pattern[str]) -> Iterator[str]:
        """What the settings of providers, stores, proxies and leases refer to by texts of this form."""
        for section in (self.providers, self.stores, self.proxies, self.leases):
            for part in section.values():
                texts = texts_of(part.settings.model_dump(), names=False)
                yield from (text for _, text in texts if pattern.fullmatch(text))

    def references_of_leases(self, pattern: re.Pattern[str], proxy: str | None) -> Iterator[str]:
        """The same of the leases that this proxy has; without it of all."""
        for part in self.leases.values():
            settings: Any = part.settings
            if proxy is None or proxy in settings.proxies:
                yield from (text for _, text in texts_of(settings.model_dump(), names=False) if pattern.fullmatch(text))

    def pools(self) -> Iterator[Any]:
        """Where providers keep keys that people make ahead: each with `store`, `path` and `places`."""
        found = (getattr(part.settings, "pool", None) for part in self.providers.values())
        yield from (pool for pool in found if hasattr(pool, "places"))

    def serves_keyturn(self, credential: CredentialSettings) -> bool:
        """Whether it is a login of keyturn's own, which no proxy is given."""
        return any(self.proxies[fleet].is_keyturn for fleet in credential.proxies)

    def login_of(self, name: str) -> str:
        """The reference by which a credential's provider logs in with that credential's secret; "": it does with another."""
        credential = self.credential(name)
        return login_of(self.providers[credential.provider].settings, credential.secrets[0].ref)

    def secrets_of(self, name: str) -> Sequence[SecretRef]:
        """Where the values of a credential are; the first decides."""
        return [secret.ref for secret in self.credential(name).secrets]

    def users_of(self, name: str) -> Sequence[str]:
        """The settings of this file that refer to a secret of this credential, but for those of its own provider."""
        credential = self.credential(name)
        parts = {
            f"{section}.{part.name}": part.settings
            for section, each in (("providers", self.providers), ("stores", self.stores), ("proxies", self.proxies))
            for part in each.values()
            if (section, part.name) != ("providers", credential.provider)
        }
        return referring(parts, [secret.ref for secret in credential.secrets])

    def leased(self, proxy: str) -> dict[str, str]:
        """Lease -> variable, for each whose `proxies` name this one."""
        found: dict[str, Any] = {name: part.settings for name, part in self.leases.items()}
        return {name: settings.env for name, settings in found.items() if proxy in settings.proxies}

    def credential(self, name: str) -> CredentialSettings:
        """MisconfiguredError that names the credentials there are, for one that is not."""
        if name not in self.credentials:
            raise MisconfiguredError(
                "no credential of that name in keyturn.yaml", remedy=f"use one of: {', '.join(self.credentials)}"
            )
        return self.credentials[name]


class ConfigError(MisconfiguredError):
    """Everything wrong with keyturn.yaml. `faults`: one sentence each, with its path and line."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{path} has {count}:\n" + "\n".join(f"  {fault}" for fault in faults))


def config_path() -> Path:
    """Where keyturn.yaml is: $KEYTURN_CONFIG, else in the current folder."""
    return Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)


def load(
    path: Path | None = None, environment: str | None = None, changes: Mapping[str, Any] = MappingProxyType({})
) -> Config:
    """Read and check. ConfigError lists every fault at once. `environment`: another one than that in use. `changes`: what is
    otherwise than in the file."""
    path = path or config_path()
    failure, content = "", b""
    try:
        with path.open("rb") as file:
            content = file.read(4 * LARGEST)  # what is longer is refused below, also a device that never ends
        source = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        failure = type(error).__name__
    if failure:  # not inside `except`: a codec's error holds what it read
        raise ConfigError(path, [f"cannot be read ({failure}): name a text file in UTF-8 with --config or ${PATH_VARIABLE}"])
    return parse(source, path, environments.named() if environment is None else environment, changes)


def parse(
    source: str, path: Path = Path(DEFAULT_PATH), environment: str = "", changes: Mapping[str, Any] = MappingProxyType({})
) -> Config:
    """As `load`, from text."""
    document = read(source)
    check = _Check(environments.over(environments.chosen(document, environment), changes))
    check.no_literal_keys(source, document.data)  # of the whole file, whichever environment it is read for
    config = check.document(path, environment)
    check.order(config, document)
    if check.faults or config is None:
        raise ConfigError(path, check.faults)
    return config


class _Check:
    """Collects faults instead of stopping at the first."""

    def __init__(self, document: Document) -> None:
        self.data = document.data
        self.lines = document.lines
        self.faults: list[str] = []
        for fault in document.faults:
            self.told(fault)

    def told(self, fault: Fault) -> None:
        where = ".".join(printable(part) for part in fault.loc) or "the file"
        self.faults.append(f"{where}" + (f" (line {fault.line})" if fault.line else "") + f": {fault.sentence}")

    def fault(self, loc: Loc, sentence: str) -> None:
        line = next((self.lines[loc[:n]] for n in range(len(loc), -1, -1) if loc[:n] in self.lines), 0)
        self.told(Fault(loc, sentence, line))

    def document(self, path: Path, environment: str) -> Config | None:
        if environment and not NAME.fullmatch(environment):
            self.fault((), f"${environments.VARIABLE} must be 1 to 40 of a-z, 0-9 and -, starting with a letter or digit")
        if not isinstance(self.data, dict):
            if not self.faults:
                self.fault((), "must have the sections providers, stores, proxies and credentials")
            return None
        known = ("providers", "stores", "proxies", "credentials", "leases", *_FURTHER)
        for name in self.data:
            if name not in known:
                self.fault((name,), f"unknown section; there are: {', '.join((*known, environments.SECTION))}")
        parts = {section: self.parts(section, self.data.get(section)) for section in known[:3]}
        credentials = self.credentials(self.data.get("credentials"))
        self.links(credentials, parts)
        leases = self.parts("leases", self.data["leases"]) if "leases" in self.data else {}
        self.leases(leases, credentials, parts)
        self.store_references({**parts, "leases": leases})
        sweep = self.model(SweepSettings, self.data.get("sweep", {}), ("sweep",))
        audit = self.model(AuditSettings, self.data["audit"], ("audit",)) if "audit" in self.data else None
        if isinstance(audit, AuditSettings) and audit.key is not None and STORE_REFERENCE.fullmatch(audit.key):
            self.link(("audit", "key"), parse_store_reference(audit.key).store, "stores", parts)
        follows = self.model(FollowsSettings, self.data["follows"], ("follows",)) if "follows" in self.data else None
        inventory = self.model(InventorySettings, self.data.get("inventory", {}), ("inventory",))
        many = self.model(RotateManySettings, self.data.get("rotate_many", {}), ("rotate_many",))
        deploy = self.model(DeploySettings, self.data.get("deploy", {}), ("deploy",))
        incidents = self.incidents(credentials, parts["stores"]) if "incidents" in self.data else None
        if not isinstance(sweep, SweepSettings) or not isinstance(deploy, DeploySettings):
            return None
        if not isinstance(inventory, InventorySettings) or not isinstance(many, RotateManySettings):
            return None
        log = audit if isinstance(audit, AuditSettings) else None
        earlier = follows if isinstance(follows, FollowsSettings) else None
        known_parts = (parts["providers"], parts["stores"], parts["proxies"])
        return Config(
            path, *known_parts, credentials, sweep, leases, deploy, incidents, environment, log, inventory, earlier, many
        )

    def order(self, config: Config | None, document: Document) -> None:
        """What this environment follows is there, and does not follow it in turn."""
        follows = config.follows if config is not None else None
        if config is None or follows is None or follows.file is not None:
            return
        at: Loc = ("follows", "environment")
        if follows.environment not in (there := environments.of_file(document)):
            self.fault(at, f"is no environment of this file (there: {listed(there)}); name its file by `file`")
        elif config.environment in environments.before(document, config.environment):
            self.fault(at, "comes after this one, too: each would wait for the other")

    def incidents(self, credentials: Collection[str], stores: Collection[str]) -> IncidentSettings | None:
        found = self.model(IncidentSettings, self.data["incidents"], ("incidents",))
        if not isinstance(found, IncidentSettings):
            return None
        for loc, sentence in faults_of_incidents(found, credentials, stores):
            self.fault(("incidents", *loc), sentence)
        return found

    def no_literal_keys(self, source: str, data: Any) -> None:
        """Among names and values, and then in what is neither: comments, anchors, a text that is not YAML."""
        told: set[str] = set()
        for loc, value in texts_of(data):
            if found := literal_keys(value):
                self.fault(loc, _KEY_FAULT)
                told.update(found)
        for number, line in enumerate(source.split("\n"), 1):
            if set(literal_keys(line)) - told:
                self.told(Fault((), _KEY_FAULT, number))

    def section(self, name: str, data: Any) -> dict[str, Any]:
        if data is None and name not in ("proxies", "leases") and self.data.get("leases"):
            return {}  # whoever has leases alone rotates nothing
        if not isinstance(data, dict) or not data:
            self.fault((name,), "is missing or empty: name at least one")
            return {}
        good = {}
        for key, value in data.items():
            if not NAME.fullmatch(key):
                self.fault((name, key), "names are 1 to 40 of a-z, 0-9 and -, starting with a letter or digit")
            elif not isinstance(value, dict):
                self.fault((name, key), "must be a mapping of settings")
            else:
                good[key] = value
        return good

    def parts(self, section: str, data: Any) -> dict[str, Part]:
        parts = {}
        for name, settings in self.section(section, data).items():
            kind = settings.get("kind")
            if not isinstance(kind, str):
                self.fault((section, name), "has no kind")
                continue
            try:
                adapter = adapter_class(section, kind)
            except MisconfiguredError as error:
                self.fault((section, name, "kind"), str(error))
                continue
            limits = {
                key: settings[key] for key in ProviderLimits.model_fields if key in settings and section == "providers"
            }
            rest = {key: value for key, value in settings.items() if key != "kind" and key not in limits}
            model = self.model(adapter.Settings, rest, (section, name))
            limited = self.model(ProviderLimits, limits, (section, name))
            if model is not None and isinstance(limited, ProviderLimits):
                parts[name] = part_of(name, kind, adapter, model, limited)
        return parts

    def credentials(self, data: Any) -> dict[str, CredentialSettings]:
        found = {}
        for name, settings in self.section("credentials", data).items():
            model = self.model(CredentialSettings, settings, ("credentials", name))
            if isinstance(model, CredentialSettings):
                found[name] = model
        return found

    def model(self, model: type[BaseModel], data: Any, loc: Loc) -> BaseModel | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False, include_input=False):
                self.fault((*loc, *item["loc"]), sentence_of(item["type"], item["msg"]))
            return None

    def links(self, credentials: Mapping[str, CredentialSettings], parts: Mapping[str, Mapping[str, Part]]) -> None:
        writers: dict[SecretRef, str] = {}
        whole: dict[tuple[str, str], str] = {}
        users: dict[str, str] = {}
        for name, credential in credentials.items():
            here: Loc = ("credentials", name)
            self.link((*here, "provider"), credential.provider, "providers", parts)
            provider = parts["providers"].get(credential.provider)
            self.ends_in_time(here, credential, provider)
            if provider is not None and (wrong := env_fault(credential.env, provider.kind)):
                self.fault((*here, "env"), wrong)
            if provider is not None and provider.for_one and credential.provider in users:
                first = printable(users[credential.provider])
                self.fault((*here, "provider"), f"has two keys, for one credential, and {first} uses it already")
            users.setdefault(credential.provider, name)
            if "proxy" in credential.canary.model_fields_set:
                self.link((*here, "canary", "proxy"), credential.canary.proxy, "proxies", parts)
            for index, proxy in enumerate(credential.proxies):
                self.link((*here, "proxies", index), proxy, "proxies", parts)
            for loc, sentence in faults_of_serving(name, credential, provider, parts["proxies"]):
                self.fault(loc, masked(sentence))
            for index, secret in enumerate(credential.secrets):
                at = (*here, "secrets", index)
                self.link((*at, "store"), secret.store, "stores", parts)
                other = writers.get(secret.ref) or whole.get((secret.store, secret.path))
                if other is None and secret.field is None:
                    other = next((w for r, w in writers.items() if (r.store, r.path) == (secret.store, secret.path)), None)
                if other is not None:
                    what = f"two credentials write {masked(str(secret.ref))}: {printable(other)} does too"
                    self.fault(at, f"{what}, and each would undo the other")
                writers[secret.ref] = name
                if secret.field is None:
                    whole[secret.store, secret.path] = name
        self.pools(parts, {(secret.store, secret.path) for each in credentials.values() for secret in each.secrets})

    def leases(
        self,
        leases: Mapping[str, Part],
        credentials: Mapping[str, CredentialSettings],
        parts: Mapping[str, Mapping[str, Part]],
    ) -> None:
        """A lease has a name and, in each of its proxies, a variable of its own, and something there that refreshes it."""
        taken: dict[tuple[str, str], str] = {}
        for name, credential in credentials.items():
            provider = parts["providers"].get(credential.provider)
            given = names_of(credential.env, credential.secrets[0].field, provider.kind if provider else "")
            there = given.variables if given is not None else ()
            taken.update({(proxy, variable): name for proxy in credential.proxies for variable in there})
        for name, part in leases.items():
            settings: Any = part.settings
            if name in credentials:
                self.fault(("leases", name), "is the name of a credential, too: give it another")
            for index, proxy in enumerate(settings.proxies):
                at: Loc = ("leases", name, "proxies", index)
                self.link(at, proxy, "proxies", parts)
                found = parts["proxies"].get(proxy)
                if found is not None and found.is_keyturn:
                    self.fault(at, "is keyturn itself, which calls no model: a lease is for proxies")
                elif found is not None and (found.kind in _UNSUPERVISED or found.has_database):
                    self.fault(at, "is started without a supervisor, and nothing would replace the token before its end")
                if (other := taken.get((proxy, settings.env))) is not None:
                    told = f"and {printable(other)} would both be ${settings.env} of {proxy}"
                    self.fault(("leases", name, "env"), f"it {told}: give one of them another `env`")
                taken[proxy, settings.env] = name

    def pools(self, parts: Mapping[str, Mapping[str, Part]], served: set[tuple[str, str]]) -> None:
        """A pool is in a store that is there, and in no secret that proxies read: they would read its keys, too."""
        for name, part in parts["providers"].items():
            pool: Any = getattr(part.settings, "pool", None)
            if not hasattr(pool, "places"):
                continue
            at: Loc = ("providers", name, "pool")
            self.link((*at, "store"), pool.store, "stores", parts)
            if (pool.store, pool.path) in served:
                self.fault((*at, "path"), "is a secret of a credential: proxies read that, and would read the pool, too")

    def ends_in_time(self, here: Loc, credential: CredentialSettings, provider: Part | None) -> None:
        """A provider whose settings have a `max_ttl` gives keys that end after it: they have to be replaced before."""
        longest = getattr(provider.settings, "max_ttl", None) if provider else None
        if not isinstance(longest, timedelta):
            return
        if credential.interval is None:
            self.fault(here, "needs schedule or max_age: its keys end by themselves, and nothing would replace them in time")
        elif credential.least_lifetime > longest:
            needed = durations.text(credential.least_lifetime)
            self.fault(
                (*here, "provider"),
                f"its keys end after {durations.text(longest)} (max_ttl), which must be at least twice the time between "
                f"rotations plus the overlap ({needed}): else one missed rotation lets the key end in production",
            )
        if credential.key_lifetime is not None and credential.key_lifetime > longest:
            told = durations.text(longest)
            self.fault((*here, "key_lifetime"), f"must not be longer than max_ttl of its provider ({told})")

    def link(self, loc: Loc, name: str, section: str, parts: Mapping[str, Mapping[str, Part]]) -> None:
        if name not in parts[section]:
            self.fault(loc, f"names nothing in {section} (there: {listed(parts[section])})")

    def store_references(self, parts: Mapping[str, Mapping[str, Part]]) -> None:
        """`store:` references lead to stores that are there, and none leads back to the store that it is to open."""
        needs: dict[str, set[str]] = {}
        for section, each in parts.items():
            for name, part in each.items():
                for loc, value in texts_of(part.settings.model_dump(), (section, name)):
                    if STORE_REFERENCE.fullmatch(value):
                        store = parse_store_reference(value).store
                        self.link(loc, store, "stores", parts)
                        if section == "stores":
                            needs.setdefault(name, set()).add(store)
        for name in needs:
            if name in reached_from(name, needs):
                self.fault(("stores", name), "needs a secret that only it can read: use env: or file: in a store's settings")
