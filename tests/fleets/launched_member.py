"""A member without a supervisor: `restart` ends the running one and starts another, as `keyturn exec --state` would.

    python launched_member.py restart FOLDER PORT     what a process manager would do; tells it in FOLDER/restarts
    python launched_member.py serve FOLDER PORT       reads FOLDER/fingerprint, writes FOLDER/state, is ready

FOLDER/slow holds how many seconds it takes until it has read its key; FOLDER/code the exit code of the restart.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """It prints nothing."""


def told(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text() if path.exists() else ""


def started() -> int:
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def restart(folder: Path, port: str) -> int:
    with (folder / "restarts").open("a") as file:
        file.write("restart\n")
    time.sleep(float(told(folder, "stopping") or 0))
    if code := int(told(folder, "code") or 0):
        return code
    with suppress(ValueError, ProcessLookupError):
        os.kill(json.loads(told(folder, "state"))["pid"], signal.SIGKILL)
    subprocess.Popen([sys.executable, "-S", __file__, "serve", str(folder), port], start_new_session=True)
    return 0


def serve(folder: Path, port: str) -> int:
    time.sleep(float(told(folder, "slow") or 0))
    versions = {"openai-prod": {"id": "v", "fingerprint": told(folder, "fingerprint")}}
    (folder / "state.new").write_text(json.dumps({"pid": os.getpid(), "started": started(), "credentials": versions}))
    (folder / "state.new").replace(folder / "state")
    HTTPServer(("127.0.0.1", int(port)), Ready).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit({"restart": restart, "serve": serve}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3]))
