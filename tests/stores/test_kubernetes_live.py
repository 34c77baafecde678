"""The suite of stores against a real cluster: KEYTURN_LIVE_KUBECONFIG=PATH names a kubeconfig; its current context is used.

Everything happens in a namespace of its own, `keyturn-live-...`, which is made at the start and deleted at the end: so the
kubeconfig's user must be allowed to make namespaces. What the double is believed to have in common with a real server, and
the store counts on, is tried here, too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import kubernetes
import pytest

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.kubernetes_secret import KubernetesSecret
from tests.stores.kubernetes_scene import KubernetesSuite, Operator, apis

KUBECONFIG = os.environ.get("KEYTURN_LIVE_KUBECONFIG", "")
if not KUBECONFIG:
    pytest.skip("no real cluster: KEYTURN_LIVE_KUBECONFIG=PATH names a kubeconfig for one", allow_module_level=True)

pytestmark = pytest.mark.real
config: Any = kubernetes.config


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    client, namespace = config.new_client_from_config(KUBECONFIG), f"keyturn-live-{secrets.token_hex(4)}"
    core = apis.CoreV1Api(client)
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        yield Operator(client, namespace)
    finally:
        core.delete_namespace(namespace)


class TestLive(KubernetesSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, operator: Operator) -> None:
        self.operator = operator

    async def make_store(self) -> SecretStore:
        settings = {"kubeconfig": KUBECONFIG, "namespace": self.operator.namespace}
        return KubernetesSecret(KubernetesSecret.Settings.model_validate(settings), resolver())


def test_an_update_that_changes_nothing_leaves_the_version(operator: Operator) -> None:
    operator.put("quiet", {"A": "1"})
    there = operator.get("quiet")
    again = operator.core.replace_namespaced_secret("quiet", operator.namespace, there)
    assert again.metadata.resource_version == there.metadata.resource_version
    there.metadata.annotations = {"keyturn/written": "x"}
    moved = operator.core.replace_namespaced_secret("quiet", operator.namespace, there)
    assert moved.metadata.resource_version != there.metadata.resource_version
