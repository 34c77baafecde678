"""What a pod of a test runs: an HTTP server of the standard library on $POD_IP, told what to do by files of $FOLDER.

/env: its variables. /ready: notes it; 503 while the file `unready` is there, and without the header Probe. /live: 500 while
`sick` is. /hook: notes that it was asked. SIGTERM: notes it, and ends; with $DEAF it goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ["FOLDER"])


def note(what: str) -> None:
    with (FOLDER / "notes").open("a") as notes:
        notes.write(f"{what}\n")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body, status = b"", 200
        if self.path == "/env":
            body = json.dumps({**os.environ, "PID": str(os.getpid())}).encode()
        elif self.path == "/ready":
            note("asked")
            status = 503 if (FOLDER / "unready").exists() or self.headers["Probe"] != "yes" else 200
        elif self.path == "/live":
            status = 500 if (FOLDER / "sick").exists() else 200
        elif self.path == "/hook":
            note("hook")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer((os.environ["POD_IP"], int(sys.argv[1])), Handler)

    def end(number: int, frame: object) -> None:
        note("SIGTERM")
        if "DEAF" not in os.environ:
            threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    if "CHILD" in os.environ:
        child = subprocess.Popen(["sleep", "600"])
        note(f"child {child.pid}")
    server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
