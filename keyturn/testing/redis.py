"""A real Redis for Prefect's servers, as docker-compose.yml has it: by deployments/redis.sh, with a password."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

from keyturn.testing import programs
from keyturn.testing.processes import Processes, free_port

SCRIPT = Path(__file__).parents[2] / "deployments" / "redis.sh"
READY_SECONDS = 30


def start_redis(processes: Processes, home: Path) -> dict[str, str]:
    """Started as `redis` and listening, or RuntimeError. Gives what tells a Prefect server where it is."""
    port, password = free_port(), secrets.token_hex(16)
    home.mkdir()
    beside = str(Path(programs.installed(("redis-server",))[0]).parent)
    environ = {"REDIS_PASSWORD": password, "REDIS_PORT": str(port), "REDIS_FOLDER": str(home)}
    environ["PATH"] = f"{beside}:{os.environ['PATH']}"
    process = processes.start("redis", programs.redis(SCRIPT), env=environ)
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return {
                "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
                "PREFECT_REDIS_MESSAGING_PORT": str(port),
                "PREFECT_REDIS_MESSAGING_PASSWORD": password,
                "PREFECT_SERVER_DOCKET_URL": f"redis://:{password}@127.0.0.1:{port}/1",
            }
        time.sleep(0.05)  # it tells nobody when it listens
    raise RuntimeError(f"Redis did not listen within {READY_SECONDS} s, or ended: {processes.logs / 'redis.log'}")
