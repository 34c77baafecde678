"""The suite of every store, against a real cluster: KEYTURN_LIVE_KUBECONFIG=PATH pytest tests/live/test_kubernetes.py

It makes a namespace of its own, and deletes it afterwards.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.kubernetes_secret import KubernetesSecret
from tests.stores.test_kubernetes_secret import KubernetesSuite, Operator

LIVE = os.environ.get("KEYTURN_LIVE_KUBECONFIG", "")
if not LIVE:
    pytest.skip("no real cluster: set KEYTURN_LIVE_KUBECONFIG to a kubeconfig", allow_module_level=True)


class TestLiveKubernetes(KubernetesSuite):
    """Against a real cluster, in a namespace of its own, which is deleted afterwards."""

    @pytest.fixture(scope="class")
    def namespace(self) -> Iterator[str]:
        from kubernetes import client, config

        load: Any = config.load_kube_config
        apis: Any = client
        load(LIVE)
        core, name = apis.CoreV1Api(), f"keyturn-live-{secrets.token_hex(4)}"
        core.create_namespace({"metadata": {"name": name}})
        yield name
        core.delete_namespace(name)

    @pytest.fixture(autouse=True)
    def _live(self, namespace: str) -> None:
        from kubernetes import client

        apis: Any = client
        self.space = namespace
        settings = apis.Configuration.get_default_copy()
        self.operator = Operator(settings.host, "", namespace)
        self.operator.http = httpx.Client(
            base_url=settings.host,
            headers={"Authorization": str((settings.auth_settings().get("BearerToken") or {}).get("value"))},
            verify=settings.ssl_ca_cert or True,
            cert=(settings.cert_file, settings.key_file) if settings.cert_file else None,
        )

    async def make_store(self) -> SecretStore:
        settings = KubernetesSecret.Settings.model_validate({"namespace": self.space, "kubeconfig": LIVE})
        return KubernetesSecret(settings, resolver(environ={}))
