"""Which keys a proxy is given, and under which names: from keyturn.yaml."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from keyturn.config import Config
from keyturn.delivery.keys import Variable
from keyturn.delivery.variable_names import Names, names_of
from keyturn.errors import MisconfiguredError
from keyturn.model import HeldKey, SecretRef, VersionRef
from keyturn.ports import Lease, SecretStore
from keyturn.settings import CredentialSettings

_ENVIRONMENT = re.compile(r"env:.*", re.DOTALL)


def variable_names(name: str, credential: CredentialSettings, provider_kind: str) -> Names:
    """See `names_of`. MisconfiguredError where there is none."""
    found = names_of(credential.env, credential.secrets[0].field, provider_kind)
    if found is None:
        raise MisconfiguredError(
            f"credentials.{name}: which environment variable LiteLLM reads is not known", remedy="add `env: NAME` to it"
        )
    return found


def names(config: Config, proxy: str) -> dict[str, Names]:
    """Credential -> its names, for each whose `proxies` name this one. MisconfiguredError: none, or two of one name; or what
    is named is keyturn itself, or has a database: their keys are delivered to nobody."""
    if proxy not in config.proxies:
        raise MisconfiguredError(
            "no proxies of that name in keyturn.yaml", remedy=f"use one of: {', '.join(config.proxies)}"
        )
    if config.proxies[proxy].is_keyturn:
        raise MisconfiguredError(
            f"{proxy} is keyturn itself: its logins are given to no program",
            remedy="name the proxies that are meant",
        )
    if config.proxies[proxy].has_database:
        raise MisconfiguredError(
            f"{proxy} has its keys in LiteLLM's own database: they are given to no program",
            remedy="start its proxies by themselves, or name the proxies that are meant",
        )
    found: dict[str, Names] = {}
    taken: dict[str, str] = {}
    for name, credential in config.credentials.items():
        if proxy not in credential.proxies:
            continue
        given = variable_names(name, credential, config.providers[credential.provider].kind)
        for variable in given.variables:
            if variable in taken:
                raise MisconfiguredError(
                    f"{taken[variable]} and {name} would both be ${variable} of {proxy}",
                    remedy="give one of them another name with `env: NAME`, and name it in LiteLLM's configuration",
                )
            taken[variable] = name
        found[name] = given
    if not found:
        raise MisconfiguredError(f"no credential names {proxy} in its proxies", remedy="add it to one")
    return found


def variables(config: Config, proxy: str, store: Callable[[str], SecretStore]) -> list[Variable]:
    """A variable for each of them, read from the credential's first secret. MisconfiguredError as in `names`."""
    found = names(config, proxy)
    deciding = {name: config.credentials[name].secrets[0] for name in found}
    return [_variable(name, given, store(deciding[name].store), deciding[name].ref) for name, given in found.items()]


def variable_of(config: Config, name: str, store: Callable[[str], SecretStore]) -> Variable:
    """How one credential is given to a program. MisconfiguredError where no name is known for it."""
    credential = config.credential(name)
    given = variable_names(name, credential, config.providers[credential.provider].kind)
    deciding = credential.secrets[0]
    return _variable(name, given, store(deciding.store), deciding.ref)


def all_variables(
    config: Config, proxy: str, store: Callable[[str], SecretStore], lease: Callable[[str], Lease]
) -> list[Variable]:
    """All that a program of these proxies is given by what keeps it up to date: keys of stores, and tokens of leases.

    MisconfiguredError as in `names`, unless there is a lease.
    """
    leased = leases(config, proxy, lease)
    keyed = any(proxy in credential.proxies for credential in config.credentials.values())
    return [*(variables(config, proxy, store) if keyed or not leased else []), *leased]


def leases(config: Config, proxy: str, lease: Callable[[str], Lease]) -> list[Variable]:
    """A variable for each lease whose `proxies` name this one."""
    return [Variable(name, env, lease(name).token, leased=True) for name, env in config.leased(proxy).items()]


def refuse_leases(config: Config, proxy: str) -> None:
    """MisconfiguredError where this proxy has a lease: for what gives a program its keys once, and never again."""
    if found := config.leased(proxy):
        raise MisconfiguredError(
            f"{', '.join(found)} of {proxy} gives tokens that end by themselves, and nothing would replace them here",
            remedy="start the program with `keyturn exec --control ADDRESS`, which does, or use a key ring",
        )


def _variable(name: str, given: Names, store: SecretStore, secret: SecretRef) -> Variable:
    read = _reader(store, secret, f"credentials.{name}", given)
    return Variable(name, given.key, read, changed=_watcher(store, secret), parts=given.parts)


def own_secrets(config: Config, proxy: str) -> set[str]:
    """The environment variables that hold keyturn's own credentials: a proxy has no use for them and is not given them.

    Every `env:` reference of keyturn.yaml, but for the proxy's own master key.
    """
    found = set(config.references(_ENVIRONMENT))
    kept = getattr(config.proxies[proxy].settings, "master_key", "")
    return {reference.removeprefix("env:") for reference in found - {kept}}


def _reader(store: SecretStore, secret: SecretRef, where: str, given: Names) -> Callable[[], Awaitable[HeldKey]]:
    async def read() -> HeldKey:
        held = await store.current(secret)
        fault: MisconfiguredError | None = None
        try:
            given.given(held.material)  # what cannot be taken apart comes up here, before it replaces anything
        except MisconfiguredError as error:
            fault = MisconfiguredError(f"{where}: {error.message}", remedy=error.remedy)
        if fault is not None:
            raise fault
        return held

    return read


def _watcher(store: SecretStore, secret: SecretRef) -> Callable[[VersionRef], Awaitable[None]] | None:
    """How this store tells of a change (keyturn.ports.TellsChanges); None where it does not."""
    changed = getattr(store, "changed", None)
    if changed is None:
        return None

    async def wait(since: VersionRef) -> None:
        await changed(secret, since)

    return wait
