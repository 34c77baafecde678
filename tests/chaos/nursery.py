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
from typing import Any, TextIO

import prefect.context
import prefect.logging.configuration

from tests.chaos import hosts, run

# Imported on use by the product; here once for all children.
PRELOADED = (
    "keyturn.providers.openai",
    "keyturn.stores.vault_kv2",
    "keyturn.stores.aws_secrets_manager",
    "keyturn.fleets.process",
)


def main() -> None:
    run.preload(PRELOADED)
    gc.collect()
    gc.freeze()
    if threading.active_count() != 1:
        raise RuntimeError("a thread was started by an import: it would not be there in a child")
    serve(sys.stdin, sys.stdout)


def serve(asked: TextIO, told: TextIO) -> None:
    """Until nobody asks any more; children that still run are left to whoever started them."""
    ends: dict[int, tuple[int, int]] = {}  # pidfd -> id, pid
    told.write('{"ready": true}\n')
    told.flush()
    while True:
        readable, _, _ = select.select([asked, *ends], [], [])
        for each in readable:
            if isinstance(each, int):
                number, pid = ends.pop(each)
                os.close(each)
                answer = {"id": number, "code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
            else:
                line = asked.readline()
                if not line:
                    return
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    for end in ends:
                        os.close(end)
                    become(order)
                ends[os.pidfd_open(pid)] = (order["id"], pid)
                answer = {"id": order["id"], "pid": pid}
            told.write(json.dumps(answer) + "\n")
            told.flush()


def become(order: dict[str, Any]) -> None:
    """In the child: what a fresh process would be, and then the run. Ends the process as a program ends."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environ"])
    random.seed()
    hosts.lead_to(os.environ[hosts.VARIABLE])
    # Prefect reads its settings when it is imported: what it read was the parent's.
    prefect.context.refresh_global_settings_context()
    prefect.logging.configuration.setup_logging()
    sys.exit(run.run(order["run"], Path(order["told"])))


if __name__ == "__main__":
    main()
