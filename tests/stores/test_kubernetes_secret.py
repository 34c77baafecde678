"""The store of Kubernetes Secrets at the double, which test_kubernetes_double holds to a real API server's answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyturn.ports import SecretStore
from keyturn.testing.kubernetes_double import KubernetesDouble
from tests.stores.kubernetes_scene import SPACE, KubernetesSuite, Operator, store_of


@pytest.fixture(scope="module")
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=["default", SPACE, "other"]) as running:
        yield running


class TestSuite(KubernetesSuite):
    double: KubernetesDouble

    @pytest.fixture(autouse=True)
    def _server(self, double: KubernetesDouble) -> None:
        self.double, self.operator = double, Operator.of(double)

    async def make_store(self) -> SecretStore:
        return store_of(self.double)
