"""External Secrets Operator: a SecretStore for each store, and an ExternalSecret whose template is the file of variables.

Names after external-secrets.io and the schemas of its release 2.9.0 (external-secrets.io/v1). They were not applied to a
cluster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from keyturn.delivery.agent.quoting import documents, entrypoint, sprig_line
from keyturn.delivery.agent.wanted import VAULT, Plan, Wanted
from keyturn.errors import MisconfiguredError
from keyturn.parts import Part

_API = "external-secrets.io/v1"
_RENDERED = PurePosixPath("/run/keyturn/keys.env")
_KEY_OF_A_SECRET = re.compile(r"[A-Za-z0-9._-]{1,253}")


def external_secrets(plan: Plan) -> Mapping[str, str]:
    """`external-secret.yaml` and `entrypoint.sh`, by name. MisconfiguredError: a store's settings do not exist there."""
    stores = {each.store.name: each.store for each in plan.wanted}
    secret = f"keyturn-{plan.proxy}-keys"
    path = plan.choices.rendered or _RENDERED
    if not _KEY_OF_A_SECRET.fullmatch(path.name):
        raise MisconfiguredError(
            "the rendered file has a name that no Secret can have", remedy="use letters, digits, . - and _"
        )
    return {
        "external-secret.yaml": documents(
            about_the_pod(plan, [secret], str(path.parent)),
            [*(_store(plan, each) for each in stores.values()), _secret(plan, secret, path.name)],
        ),
        "entrypoint.sh": entrypoint(plan.proxy, [str(path)]),
    }


def about_the_pod(plan: Plan, secrets: list[str], folder: str) -> str:
    """How the Secrets come into the pod: as a whole folder, for a single file that is mounted (subPath) never changes."""
    sources = ", ".join(f"{{secret: {{name: {each}}}}}" for each in secrets)
    return (
        f"The keys of the proxies {plan.proxy} of keyturn.yaml. In the pod:\n"
        f"  volumes: [{{name: keys, projected: {{defaultMode: 0400, sources: [{sources}]}}}}]\n"
        f"  volumeMounts: [{{name: keys, mountPath: {folder}, readOnly: true}}]\n"
        "  (without subPath: what is mounted so never changes)\n"
        "A Secret that has changed is in the pod up to a minute or two later: that is part of --render-timeout."
    )


def _secret(plan: Plan, name: str, file: str) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {
            "refreshInterval": plan.choices.seconds,
            "secretStoreRef": {"kind": "SecretStore", "name": _store_name(plan.wanted[0].store)},
            "target": {
                "name": name,
                "creationPolicy": "Owner",
                "deletionPolicy": "Retain",
                "template": {
                    "engineVersion": "v2",
                    "data": {file: "".join(sprig_line(each.variable, f".{each.variable}") for each in plan.wanted)},
                },
            },
            "data": [_datum(each) for each in plan.wanted],
        },
    }


def _datum(each: Wanted) -> dict[str, Any]:
    remote = {"key": each.path, **({"property": each.field} if each.field else {})}
    source = {"storeRef": {"kind": "SecretStore", "name": _store_name(each.store)}}
    return {"secretKey": each.variable, "remoteRef": remote, "sourceRef": source}


def _store_name(store: Part) -> str:
    return f"keyturn-{store.name}-store"


def _store(plan: Plan, store: Part) -> dict[str, Any]:
    provider = _vault(plan, store) if store.kind == VAULT else _aws(plan, store)
    return {
        "apiVersion": _API,
        "kind": "SecretStore",
        "metadata": {"name": _store_name(store)},
        "spec": {"provider": provider},
    }


def _vault(plan: Plan, store: Part) -> dict[str, Any]:
    settings: Any = store.settings
    if not settings.verify:
        raise MisconfiguredError(
            f"External Secrets always checks Vault's certificate, and {store.name} says `verify: false`",
            remedy="name its authority in ca_file instead",
        )
    login = {
        "mountPath": plan.choices.auth_mount or "kubernetes",
        "role": plan.role,
        "serviceAccountRef": {"name": plan.choices.account},
    }
    found = {
        "server": settings.address,
        "path": settings.mount,
        "version": "v2",
        **({"namespace": settings.namespace} if settings.namespace else {}),
        **(
            {"caProvider": {"type": "ConfigMap", "name": f"keyturn-{store.name}-ca", "key": "ca.crt"}}
            if settings.ca_file
            else {}
        ),
        "auth": {"kubernetes": login},
    }
    return {"vault": found}


def _aws(plan: Plan, store: Part) -> dict[str, Any]:
    """By the pods' own account (IRSA): the role of keyturn.yaml is for whoever rotates, and may do more than read."""
    settings: Any = store.settings
    login = {"jwt": {"serviceAccountRef": {"name": plan.choices.account}}}
    return {"aws": {"service": "SecretsManager", "region": settings.region, "auth": login}}
