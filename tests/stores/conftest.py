"""Real servers for the stores' tests, one of each for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from tests.stores.aws_scene import aws, bundle, double, operator, place, store, url, whole  # noqa: F401  fixtures
from tests.stores.kubernetes_scene import cluster, running_cluster, setting  # noqa: F401  fixtures


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """Unsealed, with a KV v2 engine at `secret/`. A test that seals it unseals it again."""
    folder = tmp_path_factory.mktemp("openbao")
    processes = Processes(folder)
    try:
        server = OpenBao(processes, folder)
        server.enable_kv("secret")
        yield server
    finally:
        processes.stop()
