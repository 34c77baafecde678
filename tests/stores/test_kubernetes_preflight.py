"""What the store of Kubernetes Secrets finds before anything is created, and that it writes nothing for it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.model import Finding, SecretRef
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_owners import LAST_APPLIED
from keyturn.stores.kubernetes_rules import rules
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.store_scene import new_key, refused
from tests.stores.kubernetes_scene import SPACE, Operator, store_of

UID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE]) as running:
        yield running


@pytest.fixture
async def secret(double: KubernetesDouble) -> AsyncIterator[SecretRef]:
    double.heal()
    yield SecretRef("k8s", f"case-{secrets.token_hex(6)}", "OPENAI_API_KEY")
    double.heal()


def put(double: KubernetesDouble, secret: SecretRef, metadata: Any = None, **more: Any) -> None:
    fields = {"OPENAI_API_KEY": new_key().reveal(), **more.pop("fields", {})}
    Operator.of(double).put(secret.path, fields, metadata, **more)


async def findings(double: KubernetesDouble, secret: SecretRef, token: str | None = None, **more: Any) -> list[Finding]:
    store = store_of(double, token, **more)
    double.calls.clear()
    found = list(await store.preflight(secret))
    await store.aclose()
    assert {call.split()[0] for call in double.calls} <= {"get", "create"}
    assert double.calls["create secrets"] == 0, "it only asks"
    return found


async def wrong(double: KubernetesDouble, secret: SecretRef, token: str | None = None, **more: Any) -> list[Finding]:
    found = [finding for finding in await findings(double, secret, token, **more) if finding.ok is not True]
    assert all(finding.detail and finding.remedy for finding in found)
    return found


async def test_a_good_secret_of_somebody_with_the_least_rights_is_well(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret)
    token = double.account("least", rules([secret], namespace=SPACE)[SPACE], namespace=SPACE)
    assert await wrong(double, secret, token) == []


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


@pytest.mark.parametrize(("owner", "metadata"), OWNED)
async def test_whoever_else_writes_it_is_named(
    owner: str, metadata: dict[str, Any], double: KubernetesDouble, secret: SecretRef
) -> None:
    put(double, secret, metadata)
    (found,) = await wrong(double, secret)
    assert found.ok is False
    assert owner in found.detail
    assert "some-tool" not in found.detail, "what stands in it is not repeated"
    (found,) = await wrong(double, secret, accept_owners=True)
    assert found.ok is None, "told, and stops nothing"


@pytest.mark.parametrize(
    "metadata", [{}, {"labels": {"app.kubernetes.io/managed-by": "keyturn", "app.kubernetes.io/instance": "litellm"}}]
)
async def test_labels_of_no_owner_are_none(metadata: Any, double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret, metadata)
    assert await wrong(double, secret) == []


async def test_a_value_that_kubectl_apply_repeats_in_an_annotation_is_told(
    double: KubernetesDouble, secret: SecretRef
) -> None:
    put(double, secret, {"annotations": {LAST_APPLIED: '{"data": {}}'}})
    (found,) = await wrong(double, secret)
    assert (found.ok, LAST_APPLIED in found.remedy) == (None, True)


async def test_what_can_never_change_is_told(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret, immutable=True)
    (found,) = await wrong(double, secret)
    assert "immutable" in found.detail


async def test_what_is_being_deleted_is_told(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret, {"finalizers": ["example.com/held"]})
    Operator.of(double).delete(secret.path)
    (found,) = await wrong(double, secret)
    assert "being deleted" in found.detail


@pytest.mark.parametrize(("size", "well"), [(1024 * 1024 - 4096, False), (1024 * 1024 - 16384, True)])
async def test_what_has_no_room_is_told(size: int, well: bool, double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret, fields={"BIG": b"x" * size})
    assert bool(await wrong(double, secret)) is not well


async def test_what_is_not_there_is_told_with_what_to_do(double: KubernetesDouble, secret: SecretRef) -> None:
    (found,) = await wrong(double, secret)
    assert f"kubectl -n {SPACE} create secret generic {secret.path} --from-file=OPENAI_API_KEY=" in found.remedy
    put(double, SecretRef("k8s", secret.path, None))
    (found,) = await wrong(double, SecretRef("k8s", secret.path, "OTHER"))
    assert "no key OTHER" in found.detail


async def test_each_permission_that_is_missing_is_named_as_a_rule(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret)
    beside = place_of(secret, SPACE, "key").beside
    readers = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret.path], "verbs": ["get"]}]
    token = double.account("reader", readers, namespace=SPACE)
    found = await wrong(double, secret, token)
    assert [finding.ok for finding in found] == [False] * 4
    assert [finding.remedy.partition("needs the rule ")[2] for finding in found] == [
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{secret.path}], verbs: [update]}}',
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{beside}], verbs: [get]}}',
        f'{{apiGroups: [""], resources: [secrets], resourceNames: [{beside}], verbs: [update]}}',
        '{apiGroups: [""], resources: [secrets], verbs: [create]}',
    ]
    nothing = await wrong(double, secret, double.account("nobody", [], namespace=SPACE))
    assert [finding.ok for finding in nothing] == [False]
    assert "verbs: [get]" in nothing[0].remedy


async def test_no_create_is_asked_for_where_the_second_secret_is_there(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret)
    Operator.of(double).put(place_of(secret, SPACE, "key").beside, {})
    token = double.account("updater", rules([secret], namespace=SPACE, creates=False)[SPACE], namespace=SPACE)
    assert await wrong(double, secret, token) == []


async def test_a_server_that_does_not_say_is_told_and_stops_nothing(double: KubernetesDouble, secret: SecretRef) -> None:
    put(double, secret)
    double.inject("create selfsubjectaccessreviews", Kind.DENIED, times=0)
    found = await wrong(double, secret)
    assert [finding.ok for finding in found] == [None] * 5


async def test_a_server_that_is_away_is_no_finding(double: KubernetesDouble, secret: SecretRef) -> None:
    double.inject("get secrets", Kind.UNAVAILABLE)
    store = store_of(double)
    await refused(store.preflight(secret), UnavailableError)
    await store.aclose()
