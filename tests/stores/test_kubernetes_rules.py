"""The generated rules are enough, and not one line of them is too many: tried on the double, with all else denied."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from keyturn.errors import DeniedError
from keyturn.model import SecretRef, VersionRef
from keyturn.ports import SecretStore
from keyturn.stores.kubernetes_rules import Who, empty_secrets, manifests, rules
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.kubernetes_scene import SPACE, Operator, apis, store_of

DEPLOYMENTS = Path(__file__).parent.parent.parent / "deployments"
Rules = list[dict[str, Any]]


@pytest.fixture(scope="module")
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE, "other"]) as running:
        yield running


def new_secrets() -> list[SecretRef]:
    """A bundle of two fields, and a whole secret."""
    name = secrets.token_hex(6)
    return [
        SecretRef("k8s", f"bundle-{name}", "A_KEY"),
        SecretRef("k8s", f"bundle-{name}", "B_KEY"),
        SecretRef("k8s", f"x-{name}"),
    ]


async def whole_life(store: SecretStore, found: Sequence[SecretRef]) -> None:
    """Every verb of a store."""
    for secret in found:
        await store.preflight(secret)
        old = (await store.current(secret)).version
        await store.annotate(secret, {"attempt": "1"})
        await store.spend(secret, new_token())
        new = await store.stage(secret, new_key(), new_token())
        await store.read(secret, new)
        await store.promote(secret, new, old)
        await store.stages(secret)
        await store.annotations(secret)
        await store.bar(secret, old)
        await store.discard(secret, old)


def placed(double: KubernetesDouble, found: Sequence[SecretRef], creates: bool) -> None:
    fields: dict[str, dict[str, str]] = {}
    for secret in found:
        fields.setdefault(secret.path, {})[secret.field or "key"] = new_key().reveal()
    for name, its in fields.items():
        Operator.of(double).put(name, its)
    for made in [] if creates else empty_secrets(found, namespace=SPACE):
        Operator.of(double).core.create_namespaced_secret(SPACE, made)


def as_account(double: KubernetesDouble, its: Rules) -> SecretStore:
    """A store of an account that may do this, and nothing else."""
    return store_of(double, double.account(f"account-{secrets.token_hex(4)}", its, namespace=SPACE))


def lines(its: Rules) -> Iterator[tuple[str, Rules]]:
    """The rules without one verb, or without one name, each once."""
    for number, rule in enumerate(its):
        for part in ("verbs", "resourceNames"):
            for each in rule.get(part, []):
                fewer = copy.deepcopy(its)
                fewer[number][part].remove(each)
                if not fewer[number][part]:
                    del fewer[number]  # a rule without names would grant them all
                yield f"{number} {part} {each}", fewer


@pytest.mark.parametrize("creates", [True, False])
async def test_a_rotator_needs_every_line_and_no_other(creates: bool, double: KubernetesDouble) -> None:
    found = new_secrets()
    placed(double, found, creates)
    its = rules(found, namespace=SPACE, creates=creates)[SPACE]
    await whole_life(as_account(double, its), found)
    number_of_lines = len(list(lines(its)))
    assert number_of_lines == (10 if creates else 9)
    for number in range(number_of_lines):
        found = new_secrets()
        placed(double, found, creates)
        what, fewer = list(lines(rules(found, namespace=SPACE, creates=creates)[SPACE]))[number]
        with pytest.raises(DeniedError):
            await whole_life(as_account(double, fewer), found)
            pytest.fail(f"not needed: {what}")


async def test_a_rotator_may_do_nothing_else(double: KubernetesDouble) -> None:
    found = new_secrets()
    its = rules(found, namespace=SPACE)[SPACE]
    token = double.account("nosy", its, namespace=SPACE)
    reviews = apis.AuthorizationV1Api(apis.ApiClient(_configuration(double, token)))
    granted = set()
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"):
        for name in ("", found[0].path, "somebody-elses"):
            for space in (SPACE, "other"):
                asked = {"verb": verb, "group": "", "resource": "secrets", "name": name, "namespace": space}
                review = {"spec": {"resourceAttributes": asked}}
                if reviews.create_self_subject_access_review(review).status.allowed:
                    granted.add((verb, name, space))
    create = {("create", name, SPACE) for name in ("", found[0].path, "somebody-elses")}
    assert granted == create | {(verb, found[0].path, SPACE) for verb in ("get", "update")}


def _configuration(double: KubernetesDouble, token: str) -> Any:
    made = apis.Configuration(host=double.url)
    made.api_key["BearerToken"] = f"Bearer {token}"
    return made


async def test_a_proxy_reads_what_is_served_and_no_more(double: KubernetesDouble) -> None:
    found = new_secrets()
    placed(double, found, True)
    await store_of(double).stage(found[0], new_key(), new_token())
    its = rules(found, Who.PROXY, namespace=SPACE)[SPACE]
    store = as_account(double, its)
    for secret in found:
        await store.current(secret)
        for call in (store.stages(secret), store.stage(secret, new_key(), new_token()), store.annotate(secret, {"a": "b"})):
            with pytest.raises(DeniedError):
                await call
    for _, fewer in lines(its):
        store = as_account(double, fewer)
        with pytest.raises(DeniedError):
            for secret in found:
                await store.current(secret)


async def test_a_ring_that_is_told_of_changes_watches_what_is_served_and_no_more(double: KubernetesDouble) -> None:
    found = new_secrets()
    placed(double, found, True)
    its = rules(found, Who.PROXY, namespace=SPACE, watches=True)[SPACE]
    assert [(rule["verbs"], rule["resourceNames"]) for rule in its] == [
        (["get", "watch"], list(dict.fromkeys(secret.path for secret in found)))
    ]
    other = VersionRef("1", "another")
    store = as_account(double, its)
    for secret in found:
        await store.current(secret)
        await store.changed(secret, other)  # type: ignore[attr-defined]  # not of the port
    lister: Any = apis.CoreV1Api(apis.ApiClient(_configuration(double, double.account("ring", its, namespace=SPACE))))
    asks: list[Callable[[], Any]] = [
        lambda: lister.list_namespaced_secret(SPACE),
        lambda: lister.list_namespaced_secret(SPACE, watch=True, timeout_seconds=1),
        lambda: lister.read_namespaced_secret("somebody-elses", SPACE),
    ]
    for ask in asks:
        with pytest.raises(ApiException, match="403"):
            ask()
    for _, fewer in lines(its):
        store = as_account(double, fewer)
        with pytest.raises(DeniedError):
            for secret in found:
                await store.current(secret)
                await store.changed(secret, other)  # type: ignore[attr-defined]


def test_a_rotator_watches_nothing() -> None:
    found = new_secrets()
    assert rules(found, namespace=SPACE, watches=True) == rules(found, namespace=SPACE)


async def test_to_create_a_secret_needs_what_a_rotator_has(double: KubernetesDouble) -> None:
    secret = SecretRef("k8s", f"made-{secrets.token_hex(4)}")
    await as_account(double, rules([secret], namespace=SPACE)[SPACE]).create(secret, new_key())
    with pytest.raises(DeniedError) as caught:
        other = SecretRef("k8s", f"made-{secrets.token_hex(4)}")
        await as_account(double, rules([other], namespace=SPACE, creates=False)[SPACE]).create(other, new_key())
    assert "verbs: [create]" in caught.value.remedy


async def test_the_manifests_make_it_so(double: KubernetesDouble) -> None:
    """Through the API, for secrets in two namespaces and an account in a third place."""
    name = secrets.token_hex(4)
    found = [SecretRef("k8s", f"here-{name}"), SecretRef("k8s", f"other/there-{name}")]
    client = Operator.of(double).core.api_client
    core, rbac = apis.CoreV1Api(client), apis.RbacAuthorizationV1Api(client)
    core.create_namespaced_service_account(SPACE, {"metadata": {"name": f"keyturn-{name}"}})
    for made in manifests(rules(found, namespace=SPACE), "keyturn", f"{SPACE}/keyturn-{name}"):
        create = {
            "Role": rbac.create_namespaced_role,
            "RoleBinding": rbac.create_namespaced_role_binding,
        }[made["kind"]]
        create(made["metadata"]["namespace"], made)
    for secret in found:
        space, _, main = secret.path.rpartition("/")
        Operator(client, space or SPACE).put(main, {"key": new_key().reveal()})
    await whole_life(store_of(double, double.access.add_account(SPACE, f"keyturn-{name}")), found)


def test_the_example_manifest_is_what_the_function_gives() -> None:
    documents = list(yaml.safe_load_all((DEPLOYMENTS / "kubernetes-role.yaml").read_text()))
    found = [SecretRef("k8s", "llm-keys", "OPENAI_API_KEY")]
    made = manifests(rules(found, namespace="litellm", creates=False), "keyturn", "litellm/keyturn")
    assert documents == [*empty_secrets(found, namespace="litellm"), *made]
