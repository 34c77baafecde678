"""A member in a container: reads its key when it starts, as LiteLLM its environment and `keyturn exec --state` its store.

Its text is the container's command: `python3 -c TEXT ADDRESS ROOT`. The key is $OPENAI_API_KEY, or where ROOT/run/store is
there what is written in that; then it writes ROOT/run/state.json. It ends at once with a key that begins with "refused",
and a little after it was told to.
"""

import hmac
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

address, root = sys.argv[1], Path(sys.argv[2] or "/")
key = os.environ.get("OPENAI_API_KEY", "")
store, state = root / "run" / "store", root / "run" / "state.json"
if store.exists():
    key = store.read_text()
    fingerprint = hmac.digest(b"keyturn/fingerprint/v1", key.encode(), "sha256").hex()[:16]
    document = {"pid": os.getpid(), "started": 1, "credentials": {"openai-prod": {"id": "v", "fingerprint": fingerprint}}}
    state.with_suffix(".new").write_text(json.dumps(document))
    state.with_suffix(".new").replace(state)
if key.startswith("refused"):
    sys.exit(3)


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


server = HTTPServer((address, 4000), Ready)
signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=end).start())


def end() -> None:
    time.sleep(0.3)  # its last requests
    server.shutdown()


server.serve_forever()
