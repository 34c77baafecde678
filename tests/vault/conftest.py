"""A real server of Vault's API with a second listener over TLS, and clients of ours that remember what they asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyturn.references import resolver
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from keyturn.vault.client import VaultClient
from keyturn.vault.settings import ConnectionSettings
from tests.vault.certificates import authority


@dataclass
class Server:
    bao: OpenBao
    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openbao-tls")
    ca, certificate, key = authority(folder)
    processes = Processes(folder)
    try:
        bao = OpenBao(processes, folder, tls=(certificate, key))
        bao.enable_kv("secret")
        yield Server(bao, ca, certificate, key)
    finally:
        processes.stop()


class Watched(VaultClient):
    """Remembers each request, as "METHOD path"."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sent: list[str] = []

    async def _send(self, method: str, path: str, *args: Any, **more: Any) -> Any:
        self.sent.append(f"{method} {path}")
        return await super()._send(method, path, *args, **more)

    def count(self, path: str) -> int:
        return sum(1 for each in self.sent if each.endswith(path))


def client(address: str, auth: Mapping[str, Any], environ: Mapping[str, str], **settings: Any) -> Watched:
    found = ConnectionSettings.model_validate({"address": address, "auth": auth, **settings})
    return Watched(found, resolver(environ=environ))
