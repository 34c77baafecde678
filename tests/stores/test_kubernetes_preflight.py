"""What the store of Kubernetes Secrets finds before anything is created, and that it writes nothing for it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.kubernetes.owners import LAST_APPLIED
from keyturn.model import Finding, SecretRef
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_rules import rules
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.store_scene import new_key, refused
from tests.stores.kubernetes_scene import SPACE, Operator, store_of

UID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def secret() -> SecretRef:
    return SecretRef("k8s", f"case-{secrets.token_hex(6)}", "OPENAI_API_KEY")


def put(cluster: KubernetesDouble, secret: SecretRef, metadata: Any = None, **more: Any) -> None:
    fields = {"OPENAI_API_KEY": new_key().reveal(), **more.pop("fields", {})}
    Operator.of(cluster).put(secret.path, fields, metadata, **more)


async def findings(cluster: KubernetesDouble, secret: SecretRef, token: str | None = None, **more: Any) -> list[Finding]:
    store = store_of(cluster, token, **more)
    cluster.calls.clear()
    found = list(await store.preflight(secret))
    await store.aclose()
    assert {call.split()[0] for call in cluster.calls} <= {"get", "create"}
    assert cluster.calls["create secrets"] == 0, "it only asks"
    return found


async def wrong(cluster: KubernetesDouble, secret: SecretRef, token: str | None = None, **more: Any) -> list[Finding]:
    found = [finding for finding in await findings(cluster, secret, token, **more) if finding.ok is not True]
    assert all(finding.detail and finding.remedy for finding in found)
    return found


async def test_a_good_secret_of_somebody_with_the_least_rights_is_well(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret)
    token = cluster.account("least", rules([secret], namespace=SPACE)[SPACE], namespace=SPACE)
    assert await wrong(cluster, secret, token) == []


OWNED: list[tuple[str, dict[str, Any]]] = [
    ("External Secrets", {"labels": {"reconcile.external-secrets.io/managed": "true"}}),
    ("External Secrets", {"annotations": {"reconcile.external-secrets.io/data-hash": "0"}}),
    ("Vault Secrets Operator", {"labels": {"app.kubernetes.io/managed-by": "hashicorp-vso"}}),
    ("Vault Secrets Operator", {"labels": {"secrets.hashicorp.com/vso-ownerRefUID": UID}}),
    ("Sealed Secrets", {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}}),
    ("Helm", {"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
    ("Helm", {"annotations": {"meta.helm.sh/release-name": "litellm"}}),
    ("Argo CD", {"annotations": {"argocd.argoproj.io/tracking-id": "litellm:/Secret:litellm/keys"}}),
    ("Flux", {"labels": {"kustomize.toolkit.fluxcd.io/name": "litellm"}}),
    ("app.kubernetes.io/managed-by", {"labels": {"app.kubernetes.io/managed-by": "some-tool"}}),
]
REFERENCES = [
    ("External Secrets", "external-secrets.io/v1", "ExternalSecret"),
    ("Vault Secrets Operator", "secrets.hashicorp.com/v1beta1", "VaultStaticSecret"),
    ("Sealed Secrets", "bitnami.com/v1alpha1", "SealedSecret"),
    ("ownerReferences", "example.com/v1", "Thing"),
]
for owner, version, kind in REFERENCES:
    reference = {"apiVersion": version, "kind": kind, "name": "x", "uid": UID, "controller": True}
    OWNED.append((owner, {"ownerReferences": [reference]}))
MERELY_ITS_OWNER = {"apiVersion": "bitnami.com/v1", "kind": "SealedSecret", "name": "x", "uid": UID}
OWNED.append(("Sealed Secrets", {"ownerReferences": [MERELY_ITS_OWNER]}))


@pytest.mark.parametrize(("owner", "metadata"), OWNED)
async def test_whoever_else_writes_it_is_named(
    owner: str, metadata: dict[str, Any], cluster: KubernetesDouble, secret: SecretRef
) -> None:
    put(cluster, secret, metadata)
    (found,) = await wrong(cluster, secret)
    assert found.ok is False
    assert found.what.startswith("nobody else writes")
    assert owner in found.detail
    assert "some-tool" not in found.detail, "what stands in it is not repeated"
    (found,) = await wrong(cluster, secret, accept_owners=True)
    assert found.ok is None, "told, and stops nothing"


@pytest.mark.parametrize(
    "metadata", [{}, {"labels": {"app.kubernetes.io/managed-by": "keyturn", "app.kubernetes.io/instance": "litellm"}}]
)
async def test_labels_of_no_owner_are_none(metadata: Any, cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret, metadata)
    assert await wrong(cluster, secret) == []


async def test_a_value_that_kubectl_apply_repeats_in_an_annotation_is_told(
    cluster: KubernetesDouble, secret: SecretRef
) -> None:
    put(cluster, secret, {"annotations": {LAST_APPLIED: '{"data": {}}'}})
    (found,) = await wrong(cluster, secret)
    assert (found.ok, LAST_APPLIED in found.remedy) == (None, True)


async def test_what_can_never_change_is_told(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret, immutable=True)
    (found,) = await wrong(cluster, secret)
    assert found.what == f"{secret} can be changed"
    assert "immutable" in found.detail


async def test_what_is_being_deleted_is_told(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret, {"finalizers": ["example.com/held"]})
    Operator.of(cluster).delete(secret.path)
    (found,) = await wrong(cluster, secret)
    assert "being deleted" in found.detail


@pytest.mark.parametrize(("size", "well"), [(1024 * 1024 - 4096, False), (1024 * 1024 - 16384, True)])
async def test_what_has_no_room_is_told(size: int, well: bool, cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret, fields={"BIG": b"x" * size})
    assert bool(await wrong(cluster, secret)) is not well


async def test_what_is_not_there_is_told_with_what_to_do(cluster: KubernetesDouble, secret: SecretRef) -> None:
    (found,) = await wrong(cluster, secret)
    assert f"kubectl -n {SPACE} create secret generic {secret.path} --from-file=OPENAI_API_KEY=" in found.remedy
    put(cluster, SecretRef("k8s", secret.path, None))
    (found,) = await wrong(cluster, SecretRef("k8s", secret.path, "OTHER"))
    assert "no key OTHER" in found.detail


async def test_each_permission_that_is_missing_is_named_as_a_rule(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret)
    beside = place_of(secret, SPACE, "key").beside
    readers = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret.path], "verbs": ["get"]}]
    token = cluster.account("reader", readers, namespace=SPACE)
    found = await wrong(cluster, secret, token)
    assert [finding.ok for finding in found] == [False] * 4
    assert [finding.remedy.partition("needs the rule ")[2] for finding in found] == [
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{secret.path}], verbs: [update]}}',
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{beside}], verbs: [get]}}',
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{beside}], verbs: [update]}}',
        '{apiGroups: [""], resources: [secrets], verbs: [create]}',
    ]
    nothing = await wrong(cluster, secret, cluster.account("nobody", [], namespace=SPACE))
    assert [finding.ok for finding in nothing] == [False]
    assert "verbs: [get]" in nothing[0].remedy


async def test_no_create_is_asked_for_where_the_second_secret_is_there(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret)
    Operator.of(cluster).put(place_of(secret, SPACE, "key").beside, {})
    token = cluster.account("updater", rules([secret], namespace=SPACE, creates=False)[SPACE], namespace=SPACE)
    assert await wrong(cluster, secret, token) == []


async def test_a_server_that_does_not_say_is_told_and_stops_nothing(cluster: KubernetesDouble, secret: SecretRef) -> None:
    put(cluster, secret)
    cluster.inject("create selfsubjectaccessreviews", Kind.DENIED, times=0)
    found = await wrong(cluster, secret)
    assert [finding.ok for finding in found] == [None] * 5


async def test_a_server_that_is_away_is_no_finding(cluster: KubernetesDouble, secret: SecretRef) -> None:
    cluster.inject("get secrets", Kind.UNAVAILABLE)
    store = store_of(cluster)
    await refused(store.preflight(secret), UnavailableError)
    await store.aclose()
