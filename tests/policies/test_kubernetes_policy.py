"""The least RBAC: a whole life of a credential under it on the double, and none without any one verb of any rule."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from keyturn.errors import DeniedError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.kubernetes_rules import Who, manifests, rules
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import KubernetesDouble
from tests.policies.rotations import Life, PendingError, outcome_of
from tests.steps.plain_flows import plainly

FIELDS = ["OPENAI_API_KEY", None]
SPACE = "llm"


@pytest.fixture(scope="module")
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE]) as running:
        yield running


def lines(secret: SecretRef) -> list[tuple[str, str]]:
    """Each verb with the name that it is granted for; "" for any."""
    (found,) = rules([secret], namespace=SPACE).values()
    return [(verb, name) for rule in found for verb in rule["verbs"] for name in rule.get("resourceNames", [""])]


def as_rules(granted: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [verb], **({"resourceNames": [name]} if name else {})}
        for verb, name in granted
    ]


@asynccontextmanager
async def life(double: KubernetesDouble, field: str | None, without: int | None = None) -> AsyncIterator[Life]:
    """`without`: the number of the line that is taken away."""
    secret = SecretRef("kube", f"keys-{secrets.token_hex(5)}", field)
    granted = lines(secret)
    if without is not None:
        del granted[without]

    def store(name: str, its: list[dict[str, Any]]) -> KubernetesSecret:
        token = double.account(f"{name}-{secrets.token_hex(4)}", its, namespace=SPACE)
        settings = {"namespace": SPACE, "server": double.url, "token": "env:TOKEN"}
        return KubernetesSecret(KubernetesSecret.Settings.model_validate(settings), resolver(environ={"TOKEN": token}))

    made = Life(
        secret, store("keyturn", as_rules(granted)), store("litellm", rules([secret], Who.PROXY, namespace=SPACE)[SPACE])
    )
    data = {field or "key": base64.b64encode(made.first.material.reveal().encode()).decode()}
    url = f"{double.url}/api/v1/namespaces/{SPACE}/secrets"
    headers = {"Authorization": f"Bearer {double.admin_token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as http:
        (await http.post(url, json={"metadata": {"name": secret.path}, "data": data})).raise_for_status()
    try:
        with plainly():
            yield made
    finally:
        await made.store.aclose()


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
async def test_a_whole_life_under_the_least_role(double: KubernetesDouble, field: str | None) -> None:
    async with life(double, field) as made:
        assert await outcome_of(made) is None


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
@pytest.mark.parametrize("line", range(len(lines(SecretRef("kube", "keys")))))
async def test_without_any_one_line_it_breaks(double: KubernetesDouble, field: str | None, line: int) -> None:
    async with life(double, field, without=line) as made:
        error = await outcome_of(made)
        verb, _ = lines(made.secret)[line]
        assert isinstance(error, DeniedError | PendingError), f"it goes well without {verb}: {error}"
        assert verb in re.findall(r"\w+", str(error))


def test_the_manifest_is_a_role_and_its_binding_for_each_namespace() -> None:
    secret, other = SecretRef("kube", "keys", "A"), SecretRef("kube", "team/keys")
    documents = manifests(rules([secret, other], namespace=SPACE), "keyturn", "keyturn")
    assert [(each["kind"], each["metadata"]["namespace"]) for each in documents] == [
        ("Role", SPACE),
        ("RoleBinding", SPACE),
        ("Role", "team"),
        ("RoleBinding", "team"),
    ]
    for each in documents[::2]:
        assert all(rule["resources"] == ["secrets"] for rule in each["rules"])
        assert not any("*" in rule["verbs"] for rule in each["rules"])
