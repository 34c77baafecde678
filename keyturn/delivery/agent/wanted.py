"""Which values a proxy's file of variables is made of, and where each is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from keyturn.config import Config
from keyturn.delivery.variables import names
from keyturn.errors import MisconfiguredError
from keyturn.parts import Part
from keyturn.settings import SecretAddress

VAULT, AWS = "vault_kv2", "aws_secrets_manager"
LOGINS = PurePosixPath("/etc/keyturn")
WHOLE = "key"
"""The field of a whole secret in Vault: LiteLLM's own form, and what keyturn writes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One variable and where its value is. `field` None: the whole secret, which has no fields (AWS).

    A key of several parts is one variable, with the whole text: `keyturn exec --env-file` takes it apart. So no template has
    to read JSON, none can render half of a key, and what a member says that it serves is the value in the store.
    """

    variable: str
    store: Part
    path: str
    field: str | None

    @property
    def setting(self) -> Any:
        """The store's settings."""
        return self.store.settings


@dataclass(frozen=True, slots=True)
class Choices:
    """What keyturn.yaml does not tell. `role` None: the agent logs in by AppRole, with two files in `logins`.

    `interval`: how often the secret is looked at; a roll waits that long for each member. `account`: the pods' own.
    """

    interval: timedelta = timedelta(seconds=30)
    role: str | None = None
    auth_mount: str | None = None
    account: str = "litellm"
    rendered: PurePosixPath | None = None
    logins: PurePosixPath = LOGINS

    @property
    def seconds(self) -> str:
        """As Go reads a duration, which has no days."""
        return f"{max(1, int(self.interval.total_seconds()))}s"


@dataclass(frozen=True, slots=True)
class Plan:
    """A proxy and what it is given. `env_files`: where the rendered variables will be, for the entrypoint."""

    proxy: str
    wanted: tuple[Wanted, ...]
    choices: Choices

    @classmethod
    def of(cls, config: Config, proxy: str, kinds: Collection[str], choices: Choices) -> Plan:
        """Of each credential the first secret that is in a store of these kinds: all its secrets have the same value.

        MisconfiguredError: a credential has none, or no credential names these proxies.
        """
        found, missing = [], []
        for name, given in names(config, proxy).items():
            secrets = [each for each in config.credentials[name].secrets if config.stores[each.store].kind in kinds]
            if secrets:
                found.append(_wanted(given.key, config.stores[secrets[0].store], secrets[0]))
            else:
                missing.append(name)
        if missing:
            raise MisconfiguredError(
                f"{', '.join(missing)} is in no store that this can read ({', '.join(kinds)})",
                remedy="write the key there too (a further entry in the credential's `secrets`), or choose another --for",
            )
        return cls(proxy, tuple(found), choices)

    @property
    def role(self) -> str:
        return self.choices.role or f"keyturn-{self.proxy}"

    def by_path(self) -> Mapping[tuple[str, str], tuple[Wanted, ...]]:
        """What is wanted, by the store's name and the path."""
        found: dict[tuple[str, str], tuple[Wanted, ...]] = {}
        for each in self.wanted:
            found[each.store.name, each.path] = (*found.get((each.store.name, each.path), ()), each)
        return found

    def one_server(self) -> Any:
        """The settings of the one Vault that all of it is in. MisconfiguredError: there are several."""
        servers = {(each.setting.address, each.setting.namespace, each.setting.ca_file) for each in self.wanted}
        if len(servers) > 1:
            raise MisconfiguredError(
                f"the keys of {self.proxy} are in several Vaults or namespaces, and an agent talks to one",
                remedy="use --for eso or --for vso, or keep the keys of one proxy in one Vault",
            )
        return self.wanted[0].setting


def _wanted(variable: str, store: Part, secret: SecretAddress) -> Wanted:
    return Wanted(variable, store, secret.path, secret.field or (WHOLE if store.kind == VAULT else None))
