"""Vault Secrets Operator: a connection and a login for each Vault, and a Secret for each path, each a file of variables.

Names after developer.hashicorp.com/vault/docs/deploy/kubernetes/vso and the schemas of its release 1.4.1
(secrets.hashicorp.com/v1beta1). They were not applied to a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.delivery.agent.external_secrets import about_the_pod
from keyturn.delivery.agent.quoting import documents, entrypoint, go, sprig_line
from keyturn.delivery.agent.wanted import Plan, Wanted
from keyturn.parts import Part

_API = "secrets.hashicorp.com/v1beta1"
_FOLDER = "/run/keyturn"


def vault_secrets(plan: Plan) -> Mapping[str, str]:
    """`vault-static-secret.yaml` and `entrypoint.sh`, by name. One operator's Secret has one path: a file for each."""
    stores = {each.store.name: each.store for each in plan.wanted}
    found = [document for store in stores.values() for document in (_connection(store), _login(plan, store))]
    folder = str(plan.choices.rendered.parent) if plan.choices.rendered else _FOLDER
    secrets, files = [], []
    for number, ((_, path), wanted) in enumerate(plan.by_path().items(), 1):
        secrets.append(f"keyturn-{plan.proxy}-keys-{number}")
        files.append(f"keys-{number}.env")
        found.append(_secret(plan, secrets[-1], files[-1], path, wanted))
    paths = [f"{folder}/{file}" for file in files]
    return {
        "vault-static-secret.yaml": documents(about_the_pod(plan, secrets, folder), found),
        "entrypoint.sh": entrypoint(plan.proxy, paths),
    }


def _connection(store: Part) -> dict[str, Any]:
    settings: Any = store.settings
    authority = {"caCertSecretRef": f"keyturn-{store.name}-ca"} if settings.ca_file else {}
    return {
        "apiVersion": _API,
        "kind": "VaultConnection",
        "metadata": {"name": _name(store)},
        "spec": {"address": settings.address, "skipTLSVerify": not settings.verify, **authority},
    }


def _login(plan: Plan, store: Part) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "VaultAuth",
        "metadata": {"name": _name(store)},
        "spec": {
            "vaultConnectionRef": _name(store),
            **_namespace(store),
            "method": "kubernetes",
            "mount": plan.choices.auth_mount or "kubernetes",
            "kubernetes": {"role": plan.role, "serviceAccount": plan.choices.account},
        },
    }


def _secret(plan: Plan, name: str, file: str, path: str, wanted: tuple[Wanted, ...]) -> dict[str, Any]:
    store = wanted[0].store
    lines = "".join(sprig_line(each.variable, f"get .Secrets {go(each.field or '')}") for each in wanted)
    return {
        "apiVersion": _API,
        "kind": "VaultStaticSecret",
        "metadata": {"name": name},
        "spec": {
            "vaultAuthRef": _name(store),
            **_namespace(store),
            "mount": wanted[0].setting.mount,
            "type": "kv-v2",
            "path": path,
            "refreshAfter": plan.choices.seconds,
            "destination": {
                "name": name,
                "create": True,
                # The file alone, and not each field of the bundle beside it.
                "transformation": {"excludeRaw": True, "excludes": [".*"], "templates": {file: {"text": lines}}},
            },
        },
    }


def _namespace(store: Part) -> dict[str, Any]:
    settings: Any = store.settings
    return {"namespace": settings.namespace} if settings.namespace else {}


def _name(store: Part) -> str:
    return f"keyturn-{store.name}-store"
