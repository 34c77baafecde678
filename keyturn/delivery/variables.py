"""Which keys a proxy is given, and under which names: from keyturn.yaml."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping

from keyturn.config import Config
from keyturn.delivery.keys import Variable
from keyturn.errors import MisconfiguredError
from keyturn.model import HeldKey, SecretRef, VersionRef
from keyturn.ports import SecretStore
from keyturn.settings import CredentialSettings

# Read by LiteLLM 1.106.2 for a model of that provider when the configuration names no variable.
BY_PROVIDER_KIND = {"openai": "OPENAI_API_KEY"}

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def variable_name(name: str, credential: CredentialSettings, provider_kind: str) -> str:
    """`env` of the credential; else the secret's field, if it looks like a variable; else the provider's usual name."""
    field = credential.secrets[0].field or ""
    found = credential.env or (field if _VARIABLE.fullmatch(field) else BY_PROVIDER_KIND.get(provider_kind))
    if not found:
        raise MisconfiguredError(
            f"credentials.{name}: which environment variable LiteLLM reads is not known", remedy="add `env: NAME` to it"
        )
    return found


def variables(config: Config, proxy: str, store: Callable[[str], SecretStore]) -> list[Variable]:
    """A variable for each credential whose `proxies` name this one. MisconfiguredError: none, or two of one name."""
    if proxy not in config.proxies:
        raise MisconfiguredError(
            "no proxies of that name in keyturn.yaml", remedy=f"use one of: {', '.join(config.proxies)}"
        )
    found: dict[str, Variable] = {}
    for name, credential in config.credentials.items():
        if proxy not in credential.proxies:
            continue
        variable = variable_name(name, credential, config.providers[credential.provider].kind)
        if variable in found:
            raise MisconfiguredError(
                f"{found[variable].credential} and {name} would both be ${variable} of {proxy}",
                remedy="give one of them another name with `env: NAME`, and name it in LiteLLM's configuration",
            )
        deciding, secret = store(credential.secrets[0].store), credential.secrets[0].ref
        found[variable] = Variable(name, variable, _reader(deciding, secret), _watcher(deciding, secret))
    if not found:
        raise MisconfiguredError(f"no credential names {proxy} in its proxies", remedy="add it to one")
    return list(found.values())


def own_secrets(config: Config, proxy: str) -> set[str]:
    """The environment variables that hold keyturn's own credentials: a proxy has no use for them and is not given them.

    Every `env:` reference of keyturn.yaml, but for the proxy's own master key.
    """
    sections = (config.providers, config.stores, config.proxies)
    found = {
        reference
        for section in sections
        for part in section.values()
        for reference in _environment_references(part.settings.model_dump())
    }
    kept = getattr(config.proxies[proxy].settings, "master_key", "")
    return {reference.removeprefix("env:") for reference in found - {kept}}


def _environment_references(value: object) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("env:"):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _environment_references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _environment_references(inner)


def _reader(store: SecretStore, secret: SecretRef) -> Callable[[], Awaitable[HeldKey]]:
    async def read() -> HeldKey:
        return await store.current(secret)

    return read


def _watcher(store: SecretStore, secret: SecretRef) -> Callable[[VersionRef], Awaitable[None]] | None:
    """How this store tells of a change (keyturn.ports.TellsChanges); None where it does not."""
    changed = getattr(store, "changed", None)
    if changed is None:
        return None

    async def wait(since: VersionRef) -> None:
        await changed(secret, since)

    return wait
