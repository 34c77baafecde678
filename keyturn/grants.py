"""Which secrets of a store who has to reach, by this configuration: what a least policy is made of."""

from __future__ import annotations

from collections.abc import Iterable
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
    """What `keyturn rotate`, `sweep` and the others need: every credential's secrets, the pools of keys that are made ahead,
    and what keyturn.yaml refers to."""
    turned = [secret.ref for credential in config.credentials.values() for secret in credential.secrets]
    turned += [place for pool in config.pools() for place in pool.places]
    referred = map(parse_store_reference, config.references(STORE_REFERENCE))
    return Grants(_of(store, turned), _of(store, referred))


def proxy(config: Config, store: str, name: str | None = None) -> Grants:
    """What `keyturn exec` and the like need: the deciding secret of each credential that the proxies serve, and
    what their leases log in with. None of these is a login of keyturn's own.

    `name`: of these proxies alone. MisconfiguredError: there are none of that name.
    """
    if name is not None and name not in config.proxies:
        raise MisconfiguredError(
            "no proxies of that name in keyturn.yaml", remedy=f"use one of: {', '.join(config.proxies)}"
        )
    served = [
        credential.secrets[0].ref
        for credential in config.credentials.values()
        if (name is None or name in credential.proxies) and not config.serves_keyturn(credential)
    ]
    served += map(parse_store_reference, config.references_of_leases(STORE_REFERENCE, name))
    return Grants(read=_of(store, served))


def given_in_kubernetes(config: Config, fleet: str) -> tuple[list[str], list[str]]:
    """Of a fleet of kind kubernetes: the Secrets of its namespace that its credentials are written to, and those credentials
    that are written to none: an operator may bring them, and this file does not tell where to."""
    from keyturn.stores.kubernetes_documents import place_of

    namespace = getattr(config.proxies[fleet].settings, "namespace", "")
    known, unknown = [], []
    for name, credential in config.credentials.items():
        if fleet not in credential.proxies:
            continue
        parts = [(secret.ref, config.stores[secret.store]) for secret in credential.secrets]
        settings: list[tuple[SecretRef, Any]] = [
            (ref, part.settings) for ref, part in parts if part.kind == "kubernetes_secret"
        ]
        places = [place_of(ref, its.namespace, its.key) for ref, its in settings]
        here = [place.main for place in places if place.namespace == namespace]
        known += here
        if not here:
            unknown.append(name)
    return list(dict.fromkeys(known)), unknown


def _of(store: str, secrets: Iterable[SecretRef]) -> tuple[SecretRef, ...]:
    return tuple(dict.fromkeys(secret for secret in secrets if secret.store == store))
