"""The least that keyturn must be allowed to roll a fleet in Kubernetes: the rules of a Role, as data.

After the page "Using RBAC Authorization" of kubernetes.io. A list by labels cannot be granted by name, so the workloads of
the namespace can all be listed; where their names are given, only these can be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keyturn.kubernetes.rollout import Kind

Object = dict[str, Any]


def rules(secrets: Iterable[str], kinds: Sequence[Kind], workloads: Iterable[str] = ()) -> list[Object]:
    """For one namespace. `secrets`: names of those that pods are given. `workloads`: names of those that are rolled, ():
    all that the namespace has."""
    plurals = [kind.plural for kind in kinds]
    named = {"resourceNames": list(workloads)} if workloads else {}
    read = list(dict.fromkeys(secrets))
    return [
        {"apiGroups": ["apps"], "resources": plurals, "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": plurals, **named, "verbs": ["get", "patch"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},  # preflight alone
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        *([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": read, "verbs": ["get"]}] if read else []),
    ]
