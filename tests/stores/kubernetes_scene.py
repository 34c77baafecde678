"""The other users of a Kubernetes cluster, as the store's tests play them: with the official client, without our adapter."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import pytest_asyncio
import yaml
from kubernetes.client.exceptions import ApiException

from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.store_scene import new_key
from keyturn.testing.store_suite import StoreSuite

SPACE = "litellm"
apis: Any = kubernetes.client  # its functions take dicts, and are typed for models


def as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else json.dumps(value).encode()


def store_of(double: KubernetesDouble, token: str | None = None, **settings: Any) -> KubernetesSecret:
    made = {"server": double.url, "token": "env:TOKEN", "namespace": SPACE, **settings}
    environ = {"TOKEN": token or double.admin_token}
    return KubernetesSecret(KubernetesSecret.Settings.model_validate(made), resolver(environ=environ))


def kubeconfig_of(double: KubernetesDouble, file: Path, token: str | None = None) -> Path:
    """A kubeconfig whose second context leads to the double."""
    here, nowhere = {"server": double.url}, {"server": "http://127.0.0.1:1"}
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "nowhere",
        "clusters": [{"name": "here", "cluster": here}, {"name": "nowhere", "cluster": nowhere}],
        "users": [{"name": "me", "user": {"token": token or double.admin_token}}],
        "contexts": [{"name": each, "context": {"cluster": each, "user": "me"}} for each in ("here", "nowhere")],
    }
    file.write_text(yaml.safe_dump(made))
    return file


class Operator:
    """Somebody else at the same cluster."""

    def __init__(self, client: Any, namespace: str = SPACE) -> None:
        self.core: Any = apis.CoreV1Api(client)
        self.namespace = namespace

    @classmethod
    def of(cls, double: KubernetesDouble) -> Operator:
        configuration = kubernetes.client.Configuration(host=double.url)
        configuration.api_key["BearerToken"] = f"Bearer {double.admin_token}"
        return cls(kubernetes.client.ApiClient(configuration))

    def put(self, name: str, fields: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
        data = {key: base64.b64encode(as_bytes(value)).decode() for key, value in fields.items()}
        made = {"metadata": {"name": name, **(metadata or {})}, "data": data, **more}
        try:
            self.core.create_namespaced_secret(self.namespace, made)
        except ApiException as error:
            if error.status != 409:
                raise
            self.core.replace_namespaced_secret(name, self.namespace, made)

    def get(self, name: str) -> Any:
        return self.core.read_namespaced_secret(name, self.namespace)

    def data(self, name: str) -> dict[str, bytes]:
        """What an application is given."""
        return {key: base64.b64decode(value) for key, value in (self.get(name).data or {}).items()}

    def set_field(self, name: str, field: str, value: Any) -> None:
        text = base64.b64encode(as_bytes(value)).decode()
        self.core.patch_namespaced_secret(name, self.namespace, {"data": {field: text}})

    def delete(self, name: str) -> None:
        self.core.delete_namespaced_secret(name, self.namespace)


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=["default", SPACE, "other"]) as running:
        yield running


@pytest.fixture
def cluster(running_cluster: KubernetesDouble) -> Iterator[KubernetesDouble]:
    """Healthy at the start of every test. Names are new in every test, so its Secrets may stay."""
    yield running_cluster
    running_cluster.heal()


@dataclass
class Setting:
    """A bundle of its own in the double, and a store."""

    double: KubernetesDouble
    operator: Operator
    store: KubernetesSecret
    secret: SecretRef
    value: KeyMaterial

    @property
    def beside(self) -> str:
        return place_of(self.secret, SPACE, "key").beside


BINARY = b"\xff\xfe\x00 no text \x80"


@pytest_asyncio.fixture
async def setting(cluster: KubernetesDouble) -> AsyncIterator[Setting]:
    name, value, operator = f"case-{secrets.token_hex(6)}", new_key(), Operator.of(cluster)
    fields = {"OPENAI_API_KEY": value.reveal(), "BINARY": BINARY, "LINES": "a\r\nb\n\n", "EMPTY": ""}
    operator.put(name, fields, {"labels": {"team": "platform"}, "annotations": {"note": "by hand"}})
    made = Setting(cluster, operator, store_of(cluster), SecretRef("k8s", name, "OPENAI_API_KEY"), value)
    yield made
    await made.store.aclose()


class KubernetesSuite(StoreSuite):
    """What is left is how the store is made. A value of a Secret is bytes: what is no text is kept as JSON."""

    operator: Operator

    def new_path(self, name: str) -> str:
        return f"suite-{secrets.token_hex(6)}-{name}"

    async def write_whole(self, path: str, text: str) -> None:
        await asyncio.to_thread(self.operator.put, path, {"key": text})

    async def read_whole(self, path: str) -> str:
        fields = await self.read_bundle(path)
        assert set(fields) == {"key"}
        return str(fields["key"])

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self.operator.put, path, fields)

    async def read_bundle(self, path: str) -> dict[str, Any]:
        found = await asyncio.to_thread(self.operator.data, path)
        return {key: value.decode() for key, value in found.items()}

    async def set_field(self, path: str, field: str, value: Any) -> None:
        await asyncio.to_thread(self.operator.set_field, path, field, value)
