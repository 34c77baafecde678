"""The least RBAC for Secrets, as the rules of a Role: to whoever rotates, and to a proxy that reads its keys.

A rule with `create` cannot name what may be created (Kubernetes, "Using RBAC Authorization", on resourceNames): give keyturn
a namespace where that is no matter, or make the second Secret yourself and leave that rule out.
tests/policies/test_kubernetes_policy.py plays a credential's whole life under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from keyturn.errors import MisconfiguredError
from keyturn.model import SecretRef
from keyturn.stores.kubernetes_documents import beside_place, place
from keyturn.stores.kubernetes_secret import KubernetesSecret

Rule = dict[str, Any]


def rotator_rules(
    settings: KubernetesSecret.Settings, secrets: Sequence[SecretRef], read: Sequence[SecretRef] = ()
) -> dict[str, list[Rule]]:
    """By namespace. `read`: secrets that are only read, by a `store:` reference."""
    names: dict[str, list[str]] = {}
    for secret in secrets:
        for namespace, name in (place(secret, settings.namespace), beside_place(secret, settings.namespace)):
            names.setdefault(namespace, []).append(name)
    rules = {
        namespace: [_rule(["get", "update"], sorted(set(each))), _rule(["create"], None)]
        for namespace, each in names.items()
    }
    for namespace, more in proxy_rules(settings, read).items():
        rules.setdefault(namespace, []).extend(more)
    return rules


def proxy_rules(settings: KubernetesSecret.Settings, secrets: Sequence[SecretRef]) -> dict[str, list[Rule]]:
    """For who reads a Secret through the API. (A pod that mounts it, or takes it into its environment, needs none.)"""
    names: dict[str, list[str]] = {}
    for secret in secrets:
        namespace, name = place(secret, settings.namespace)
        names.setdefault(namespace, []).append(name)
    return {namespace: [_rule(["get"], sorted(set(each)))] for namespace, each in names.items()}


def text(rules: dict[str, list[Rule]], name: str) -> str:
    """A Role and its binding for each namespace, to a service account of the same name there, as YAML."""
    if not rules:
        raise MisconfiguredError("no secret of that store is named", remedy="look at the credentials of keyturn.yaml")
    documents = []
    for namespace, each in rules.items():
        metadata = {"name": name, "namespace": namespace}
        documents.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": each})
        documents.append(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
        )
    return yaml.safe_dump_all(documents, sort_keys=False)


def _rule(verbs: list[str], names: list[str] | None) -> Rule:
    rule: Rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}
    return rule if names is None else {**rule, "resourceNames": names}
