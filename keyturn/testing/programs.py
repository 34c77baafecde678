"""The programs that an installation is made of, word by word: what the tests start, and what containers and pods are told.

A test holds docker-compose.yml and the manifests in deployments/kubernetes to them, so that no word stands there that was
never started here.
"""

from __future__ import annotations

import sys
from pathlib import Path

SERVE = ("keyturn", "serve")
DEPLOY = ("keyturn", "deploy", "--pool")  # and the pool
INCIDENTS = ("keyturn", "incidents", "serve")
PREFECT_MIGRATION = ("prefect", "server", "database", "upgrade", "-y")
PREFECT_SERVICES = ("prefect", "server", "services", "start")

# Of every server and of the background services, where there are several: they share a database and a Redis, and none
# changes the schema by itself.
REPLICATED = {
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
}
# Of all but the first: two that register the same blocks in a new database meet at a unique index, and one of them ends.
NOT_THE_FIRST = {"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}


def prefect_server(host: str, port: int) -> tuple[str, ...]:
    """Prefect's server alone: its API, its UI and its background services."""
    return ("prefect", "server", "start", "--host", host, "--port", str(port))


def prefect_replica(host: str, port: int) -> tuple[str, ...]:
    """One of several: API and UI. The background services are a program of their own."""
    return (*prefect_server(host, port), "--no-services")


def pool_worker(pool: str) -> tuple[str, ...]:
    """A worker of a process pool, with a listener that says whether it still polls (PREFECT_WORKER_WEBSERVER_PORT)."""
    return ("prefect", "worker", "start", "--type", "process", "--pool", pool, "--with-healthcheck")


def caddy(config: Path) -> tuple[str, ...]:
    """Caddy on a Caddyfile."""
    return ("caddy", "run", "--adapter", "caddyfile", "--config", str(config))


def openbao(config: Path) -> tuple[str, ...]:
    """OpenBao, or Vault, on a file or a folder of them."""
    return ("bao", "server", f"-config={config}")


def redis(script: Path) -> tuple[str, ...]:
    """Redis by deployments/redis.sh, which starts `redis-server` and tells it its password unseen."""
    return ("sh", str(script))


def installed(words: tuple[str, ...]) -> list[str | Path]:
    """The same, with the program of this Python environment."""
    return [Path(sys.executable).with_name(words[0]), *words[1:]]
