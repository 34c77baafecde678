"""Who else writes a Secret: operators and deployment tools, by the marks that they leave on it.

What keyturn promotes into such a Secret its owner writes over, at its next reconciliation: the proxies are then told to use
a key that keyturn takes for the old one, and is about to revoke. Marks after the tools' sources and pages: External Secrets
(v1: LabelManaged, LabelOwner), Vault Secrets Operator (v1beta1: its owner labels), Sealed Secrets, Argo CD ("Resource
Tracking"), Flux ("Kustomization", "HelmRelease"), Helm ("Labels and Annotations"), Kubernetes ("Recommended Labels").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keyturn.json_object import inside

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_US = "keyturn"

# A label or annotation that begins so -> whose it is.
_MARKS = {
    "reconcile.external-secrets.io/": "External Secrets Operator",
    "secrets.hashicorp.com/": "Vault Secrets Operator",
    "sealedsecrets.bitnami.com/": "Sealed Secrets",
    "meta.helm.sh/release-name": "Helm",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
_MANAGERS = {"helm": "Helm", "hashicorp-vso": "Vault Secrets Operator"}
_KINDS = {
    "external-secrets.io": "External Secrets Operator",
    "secrets.hashicorp.com": "Vault Secrets Operator",
    "bitnami.com": "Sealed Secrets",
}


def owners(secret: Mapping[str, Any]) -> list[str]:
    """The tools that would write over this Secret, each once, in our words: nothing that stands in it is quoted."""
    return list(dict.fromkeys(_owners(secret)))


def _owners(secret: Mapping[str, Any]) -> Iterator[str]:
    references = inside(secret, "metadata", "ownerReferences")
    for reference in references if isinstance(references, list) else []:
        group = str(inside(reference, "apiVersion")).partition("/")[0]
        yield _KINDS.get(group, "an owner named in ownerReferences")
    labels, annotations = (inside(secret, "metadata", part) or {} for part in ("labels", "annotations"))
    for name in (*labels, *annotations):
        yield from (owner for mark, owner in _MARKS.items() if str(name).startswith(mark))
    manager = labels.get(_MANAGED_BY)
    if isinstance(manager, str) and manager not in ("", _US):
        yield _MANAGERS.get(manager.lower(), f"whoever the label {_MANAGED_BY} names")
