"""A process manager as small as one can be, in the place of systemd: it ends one member and starts it again.

python -m tests.walks.process_manager SPECIFICATION     a JSON file: command, environ, log, pid (a file), grace (seconds)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_POLL = 0.05


def main(path: Path) -> int:
    told: dict[str, Any] = json.loads(path.read_text())
    stop(Path(told["pid"]), told["grace"])
    with Path(told["log"]).open("ab") as log:
        process = subprocess.Popen(
            told["command"], env=told["environ"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    Path(told["pid"]).write_text(str(process.pid))
    return 0


def stop(pid_file: Path, grace: float) -> None:
    """SIGTERM, then SIGKILL. It may be no child of ours: it is gone when the system does not know it, or as a zombie."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while _runs(pid):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
