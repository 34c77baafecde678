"""A Kubernetes Secret: one key of its data, or a Secret that holds one key. What stands where: kubernetes_documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from keyturn.errors import PermanentError
from keyturn.model import Finding, SecretRef
from keyturn.references import Resolver
from keyturn.stores.kubernetes_client import ClusterSettings, SecretsClient
from keyturn.stores.kubernetes_documents import Documents
from keyturn.stores.staged_store import StagedStore

_MAIN, _BESIDE = "secrets/<name>", "secrets/<name>.keyturn-<digest>"

# Who writes a Secret again as it was: by its owner's kind, or by a mark of its metadata.
_OWNERS = ("ExternalSecret", "VaultStaticSecret", "VaultDynamicSecret", "SealedSecret", "SecretProviderClass", "Certificate")
_MARKS = {
    "reconcile.external-secrets.io/managed": "External Secrets Operator",
    "reconcile.external-secrets.io/data-hash": "External Secrets Operator",
    "secrets.hashicorp.com/vso-ownerRefUID": "Vault Secrets Operator",
    "meta.helm.sh/release-name": "Helm",
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


class KubernetesSecret(StagedStore):
    """A SecretStore. Permission needed: a Role as kubernetes_policy gives it; `current`: `get` on the Secret."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"GET {_MAIN}, GET {_BESIDE}", "get on both"),
        "create": (f"POST {_MAIN}; for a key of one that is there PUT", "create on secrets, update on it"),
        "stage": (f"PUT {_BESIDE}, at first POST", "update on it, create on secrets"),
        "spend": (f"PUT {_BESIDE}, at first POST", "update on it, create on secrets"),
        "promote": (f"PUT {_BESIDE}, then PUT {_MAIN} (each with its resourceVersion)", "update on both"),
        "bar": (f"PUT {_BESIDE}", "update on both"),
        "discard": (f"PUT {_BESIDE}", "update on both"),
        "annotate": (f"PUT {_BESIDE}, at first POST", "update on it, create on secrets"),
        "annotations": (f"GET {_BESIDE}", "get on it"),
    }

    class Settings(ClusterSettings):
        """`whole_key`: the key of the Secret's data that holds the value where a credential names no field."""

        whole_key: str = Field(default="key", pattern=r"^[A-Za-z0-9._-]{1,100}$")

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self._client = SecretsClient(settings, resolve)
        self._documents = Documents(self._client, settings.namespace, settings.whole_key)
        super().__init__(self._documents)

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Looks at the Secret, at who else writes it, and at what the login may do. A RetryableError comes through."""
        try:
            main = await self._documents.main(secret)
            await self.stages(secret)
            await self.annotations(secret)
        except PermanentError as error:
            return [Finding(f"{secret} can be read", False, error.message, error.remedy)]
        found = [Finding(f"{secret} can be read", True), *_of_object(secret, main.content)]
        return [*found, *await self._permissions(secret)]

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _permissions(self, secret: SecretRef) -> list[Finding]:
        findings = []
        asked = [("update", self._documents.place(secret)), ("update", self._documents.beside_place(secret))]
        for verb, (namespace, name) in [*asked, ("create", (self._documents.place(secret)[0], ""))]:
            allowed = await self._client.may(namespace, verb, name)
            limited = f", resourceNames: [{name}]" if name else ""
            remedy = f"add to the Role: {{apiGroups: [''], resources: [secrets], verbs: [{verb}]{limited}}}"
            what = f"the login may {verb} secrets {name}".rstrip()
            detail = "" if allowed else "not granted" if allowed is False else "the API server does not say"
            findings.append(Finding(what, allowed, detail, "" if allowed else remedy))
        return findings


def _of_object(secret: SecretRef, found: Mapping[str, Any]) -> list[Finding]:
    immutable = found.get("immutable") is True
    owners = sorted(set(_owners(found.get("metadata") or {})))
    return [
        Finding(
            f"{secret} can be changed",
            not immutable,
            "it is immutable" if immutable else "",
            "make a Secret of another name, and name that" if immutable else "",
        ),
        Finding(
            f"{secret} is written by nobody else",
            not owners,
            f"{', '.join(owners)} would write it again as it was" if owners else "",
            "name the store that it is made from, or take the Secret out of its hands" if owners else "",
        ),
    ]


def _owners(metadata: Mapping[str, Any]) -> Iterator[str]:
    for owner in metadata.get("ownerReferences") or []:
        if isinstance(owner, dict) and owner.get("kind") in _OWNERS:
            yield str(owner["kind"])
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    for mark, who in _MARKS.items():
        if mark in marks:
            yield who
