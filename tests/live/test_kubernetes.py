"""The suite of every store, against a real cluster: KEYTURN_LIVE_KUBECONFIG=PATH pytest tests/live/test_kubernetes.py

It makes a namespace of its own, and deletes it afterwards.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.kubernetes_secret import KubernetesSecret
from tests.stores.kubernetes_scene import KubernetesSuite, Operator

LIVE = os.environ.get("KEYTURN_LIVE_KUBECONFIG", "")
if not LIVE:
    pytest.skip("no real cluster: set KEYTURN_LIVE_KUBECONFIG to a kubeconfig", allow_module_level=True)


class TestLiveKubernetes(KubernetesSuite):
    space: str

    @pytest.fixture(scope="class")
    def client(self) -> Any:
        made: Any = kubernetes.config
        return made.new_client_from_config(LIVE)

    @pytest.fixture(scope="class")
    def namespace(self, client: Any) -> Iterator[str]:
        apis: Any = kubernetes.client
        core, name = apis.CoreV1Api(client), f"keyturn-live-{secrets.token_hex(4)}"
        core.create_namespace({"metadata": {"name": name}})
        yield name
        core.delete_namespace(name)

    @pytest.fixture(autouse=True)
    def _live(self, client: Any, namespace: str) -> None:
        self.space, self.operator = namespace, Operator(client, namespace)

    async def make_store(self) -> SecretStore:
        settings = KubernetesSecret.Settings(namespace=self.space, kubeconfig=Path(LIVE))
        return KubernetesSecret(settings, resolver(environ={}))
