"""The store's suite against a Vault of yours: HashiCorp's own, a cluster, a namespace of HCP.

    KEYTURN_LIVE_VAULT=https://vault.example.com:8200 VAULT_TOKEN=... .venv/bin/pytest tests/stores/test_vault_live.py

VAULT_TOKEN may write in the engine KEYTURN_LIVE_VAULT_MOUNT (else `secret`), below `suite/` and `keyturn/suite/`.
VAULT_NAMESPACE and VAULT_CACERT as everywhere. What the suite writes it deletes again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import hvac
import pytest
import pytest_asyncio

from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from tests.stores.test_vault_kv2 import Operator, VaultSuite

ADDRESS = os.environ.get("KEYTURN_LIVE_VAULT", "")
MOUNT = os.environ.get("KEYTURN_LIVE_VAULT_MOUNT", "secret")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not ADDRESS, reason="KEYTURN_LIVE_VAULT names no server: nothing was tried on a real Vault of yours"),
]


class TestLive(VaultSuite):
    @pytest_asyncio.fixture(autouse=True)
    async def _server(self) -> AsyncIterator[None]:  # type: ignore[override]  # it starts none
        verify = os.environ.get("VAULT_CACERT") or True
        token, namespace = os.environ["VAULT_TOKEN"], os.environ.get("VAULT_NAMESPACE")
        root = hvac.Client(url=ADDRESS, token=token, namespace=namespace, verify=verify)
        self.written: set[str] = set()
        self.operator = Operator(SimpleNamespace(root=root), MOUNT)  # type: ignore[arg-type]  # all that it needs of it
        yield
        for path in self.written:
            delete = root.secrets.kv.v2.delete_metadata_and_all_versions
            await asyncio.to_thread(delete, path, mount_point=MOUNT)

    async def write_whole(self, path: str, text: str) -> None:
        self.written.add(path)
        await super().write_whole(path, text)

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        self.written.add(path)
        await super().write_bundle(path, fields)

    async def make_store(self) -> SecretStore:
        settings: dict[str, Any] = {
            "address": ADDRESS,
            "auth": {"method": "token", "token": "env:VAULT_TOKEN"},
            "mount": MOUNT,
        }
        settings |= {"namespace": os.environ.get("VAULT_NAMESPACE"), "ca_file": os.environ.get("VAULT_CACERT")}
        store = VaultKV2(VaultKV2.Settings.model_validate(settings), resolver())
        request = store._vault.request

        async def remembered(method: str, path: str, *args: Any, **more: Any) -> Any:
            if method == "POST" and path.startswith(f"{MOUNT}/"):
                self.written.add(path.removeprefix(f"{MOUNT}/").partition("/")[2])
            return await request(method, path, *args, **more)

        store._vault.request = remembered  # type: ignore[method-assign]
        return store
