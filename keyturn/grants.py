"""Which secrets of a store who has to reach, by this configuration: what a least policy is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.config import Config
from keyturn.errors import MisconfiguredError
from keyturn.model import SecretRef
from keyturn.references import STORE_REFERENCE, parse_store_reference


@dataclass(frozen=True, slots=True)
class Grants:
    """`turned`: secrets that are rotated, with all that a store's verbs do. `read`: secrets of which CURRENT is read."""

    turned: tuple[SecretRef, ...] = ()
    read: tuple[SecretRef, ...] = ()


def rotator(config: Config, store: str) -> Grants:
    """What `keyturn rotate`, `sweep` and the others need: every credential's secrets, and what keyturn.yaml refers to."""
    turned = [secret.ref for credential in config.credentials.values() for secret in credential.secrets]
    sections = (config.providers, config.stores, config.proxies)
    referred = [
        parse_store_reference(text) for section in sections for part in section.values() for text in _references(part)
    ]
    return Grants(_of(store, turned), _of(store, referred))


def proxy(config: Config, store: str, name: str | None = None) -> Grants:
    """What `keyturn exec` and the like need: the deciding secret of each credential that the proxies serve.

    `name`: of these proxies alone. MisconfiguredError: there are none of that name.
    """
    if name is not None and name not in config.proxies:
        raise MisconfiguredError(
            "no proxies of that name in keyturn.yaml", remedy=f"use one of: {', '.join(config.proxies)}"
        )
    served = [
        credential.secrets[0].ref for credential in config.credentials.values() if name is None or name in credential.proxies
    ]
    return Grants(read=_of(store, served))


def _of(store: str, secrets: Iterable[SecretRef]) -> tuple[SecretRef, ...]:
    return tuple(dict.fromkeys(secret for secret in secrets if secret.store == store))


def _references(part: Any) -> Iterator[str]:
    yield from (text for text in _texts(part.settings.model_dump()) if STORE_REFERENCE.fullmatch(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
