"""A process that has imported Prefect, the flows and the SDKs once, and forks a child for each run that is asked for.

    python -m tests.chaos.nursery

It reads a JSON object a line: `{"id": N, "environ": {...}, "log": PATH, "told": PATH, "run": {...}}`, where `run` is for
`tests.chaos.run`. It writes `{"id": N, "pid": P}` for each child, and `{"id": N, "code": C}` when that has ended.
It has no threads, no event loop and no connections, so that a fork is a whole process.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import sys
import threading
from pathlib import Path
from typing import Any

import prefect.context
import prefect.logging.configuration

from tests.chaos import clock, disk, hosts, run

# Imported on use by the product; here once for all children.
PRELOADED = (
    "keyturn.providers.openai",
    "keyturn.providers.azure_openai",
    "keyturn.providers.anthropic",
    "keyturn.providers.console_pool",
    "keyturn.providers.bedrock_api_key",
    "keyturn.providers.perplexity",
    "keyturn.providers.http_declared",
    "keyturn.providers.xai",
    "keyturn.providers.cloudflare",
    "keyturn.providers.vault_dynamic",
    "keyturn.stores.vault_kv2",
    "keyturn.stores.aws_secrets_manager",
    "keyturn.stores.kubernetes_secret",
    "keyturn.stores.dotenv_file",
    "keyturn.fleets.process",
)
_STDIN, _STDOUT = 0, 1


def main() -> None:
    run.preload(PRELOADED)
    gc.collect()
    gc.freeze()
    if threading.active_count() != 1:
        raise RuntimeError("a thread was started by an import: it would not be there in a child")
    _tell({"ready": True})
    serve()


def serve() -> None:
    """Until nobody asks any more; children that still run are left to whoever started them."""
    ends: dict[int, tuple[int, int]] = {}  # pidfd -> id, pid
    heard = b""
    while True:
        readable, _, _ = select.select([_STDIN, *ends], [], [])
        for end in ends.keys() & set(readable):
            number, pid = ends.pop(end)
            os.close(end)
            _tell({"id": number, "code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
        if _STDIN not in readable:
            continue
        # Read bare: a reader with a buffer of its own would keep a second line from `select`.
        data = os.read(_STDIN, 65536)
        if not data:
            return
        *lines, heard = (heard + data).split(b"\n")
        for order in map(json.loads, lines):
            pid = os.fork()
            if pid == 0:
                become(order, ends)
            ends[os.pidfd_open(pid)] = (order["id"], pid)
            _tell({"id": order["id"], "pid": pid})


def _tell(fact: dict[str, Any]) -> None:
    os.write(_STDOUT, json.dumps(fact).encode() + b"\n")


def become(order: dict[str, Any], siblings: dict[int, tuple[int, int]]) -> None:
    """In the child: what a fresh process would be, and then the run. Ends the process as a program ends."""
    for end in siblings:
        os.close(end)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environ"])
    random.seed()
    hosts.lead_to(os.environ[hosts.VARIABLE])
    disk.tell(os.environ.get(disk.VARIABLE))
    clock.tell(os.environ.get(clock.VARIABLE))
    # Prefect reads its settings when it is imported: what it read was the parent's.
    prefect.context.refresh_global_settings_context()
    prefect.logging.configuration.setup_logging()
    sys.exit(run.run(order["run"], Path(order["told"])))


if __name__ == "__main__":
    main()
