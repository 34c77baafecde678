"""The least that keyturn, and a proxy, must be allowed in Kubernetes: the rules of a Role, as data and as manifests.

After the page "Using RBAC Authorization" of kubernetes.io. RBAC cannot limit a create to a name. So whoever may create the
second Secret may create any Secret of the namespace, though neither read nor change those that are there. Where that is too
much, somebody else makes the second Secret ahead, empty (`empty_secrets`), and no create is granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from keyturn.model import SecretRef
from keyturn.stores.kubernetes_documents import OURS, Place, place_of

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"
_UPDATES = ("get", "update")


class Who(StrEnum):
    """For whom a Role is."""

    ROTATOR = "rotator"  # keyturn itself
    PROXY = "proxy"  # `keyturn exec`, a key ring: it reads what is served


def rules(
    secrets: Iterable[SecretRef],
    who: Who = Who.ROTATOR,
    *,
    namespace: str,
    key: str = "key",
    creates: bool = True,
    watches: bool = False,
) -> dict[str, list[Object]]:
    """The rules of one Role for each namespace in which these secrets are.

    `namespace`, `key`: the store's settings. `creates`: whether keyturn makes the second Secrets, and by `create` the first.
    `watches`: whether a proxy is told of changes, as a key ring is; without it the ring asks now and then. keyturn itself
    watches nothing. A proxy that is given its keys by `envFrom` needs no rule at all: the kubelet reads for it.
    """
    found: dict[str, list[Object]] = {}
    for space, places in _by_namespace(secrets, namespace, key).items():
        main = list(dict.fromkeys(place.main for place in places))
        if who is Who.PROXY:
            found[space] = [_rule(("get", "watch") if watches else ("get",), main)]
            continue
        beside = list(dict.fromkeys(place.beside for place in places))
        found[space] = [_rule(_UPDATES, main), _rule(_UPDATES, beside), *([_rule(("create",))] if creates else [])]
    return found


def manifests(found: dict[str, list[Object]], name: str, account: str) -> list[Object]:
    """A Role, and a RoleBinding to a service account (`NAMESPACE/NAME`), for each namespace of `rules`."""
    space, _, subject = account.rpartition("/")
    made: list[Object] = []
    for namespace, its in found.items():
        metadata = {"name": name, "namespace": namespace}
        made.append({"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": its})
        made.append(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": subject, "namespace": space or namespace}],
            }
        )
    return made


def empty_secrets(secrets: Iterable[SecretRef], *, namespace: str, key: str = "key") -> list[Object]:
    """The second Secrets, to be made by somebody else. They hold nothing yet."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": beside, "namespace": space, "labels": dict(OURS)},
            "type": "Opaque",
        }
        for space, places in _by_namespace(secrets, namespace, key).items()
        for beside in dict.fromkeys(place.beside for place in places)
    ]


def _by_namespace(secrets: Iterable[SecretRef], namespace: str, key: str) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place in [place_of(secret, namespace, key) for secret in secrets]:
        found.setdefault(place.namespace, []).append(place)
    return found


def _rule(verbs: Sequence[str], names: Sequence[str] = ()) -> Object:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [""], "resources": ["secrets"], **named, "verbs": list(verbs)}
