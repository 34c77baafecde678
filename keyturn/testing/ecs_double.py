"""An Amazon ECS on loopback: a cluster whose services are rolled, for boto3 and whatever speaks its JSON 1.1 protocol.

Requests and answers are checked by the shapes of botocore's own description of ECS. Time is the double's: it moves by
`forward`, in steps of a second; or with `follow_time`, with the machine's. What it does not do: docs/testing.md.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from keyturn.testing.ecs_operations import Operations, RefusedError
from keyturn.testing.ecs_scheduler import Lives, Scheduler

_START = 1_790_000_000.0


class ECSDouble:
    """`before`, `after`: called with operation and body around each call. A test makes somebody else act there.

    `refuse`: operation -> (status, code), instead of doing it. `lose`: operations that are done, and whose connection is cut
    before the answer. `stale`: so many coming DescribeServices show what was last shown.
    """

    def __init__(self, lives: Lives, cluster: str = "litellm") -> None:
        self.scheduler = Scheduler(cluster, lives, _START)
        self.operations = Operations(self.scheduler)
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str, Any], None] = lambda operation, body: None
        self.after: Callable[[str, Any], None] = lambda operation, body: None
        self.refuse: dict[str, tuple[int, str]] = {}
        self.lose: set[str] = set()
        self.stale = 0
        self._shown: dict[str, Any] = {}
        self._model = _model()
        self._lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None
        self._stopped = threading.Event()

    @property
    def now(self) -> float:
        return self.scheduler.now

    def forward(self, seconds: float) -> None:
        """Time passes."""
        with self._lock:
            ends = self.now + seconds
            while self.now < ends:
                self.scheduler.step(min(self.now + 1.0, ends))

    async def pause(self, seconds: float) -> None:
        self.forward(seconds)

    def follow_time(self, speed: float = 1.0) -> None:
        """From now on it passes by itself, `speed` times as fast as the machine's."""

        def run() -> None:
            last = time.monotonic()
            while not self._stopped.wait(0.1):
                now = time.monotonic()
                self.forward((now - last) * speed)
                last = now

        threading.Thread(target=run, daemon=True).start()

    def start(self) -> str:
        """Serve on loopback from a thread; gives the address."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 65536

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                status, answer = double.answer(operation, json.loads(raw or b"{}"))
                if operation in double.lose:
                    double.lose.discard(operation)
                    self.close_connection = True
                    return
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("x-amzn-RequestId", f"request-{sum(double.calls.values())}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(double.now, usegmt=True)

            def log_message(self, format: str, *args: Any) -> None:
                """No line per request: the calls are counted instead."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and document. A request that is not of ECS's form is refused; an answer that is not is a fault of ours."""
        self.before(operation, body)
        self.calls[operation] += 1
        if operation in self.refuse:
            status, code = self.refuse[operation]
            return status, {"__type": code, "message": "refused, as it was asked for"}
        model = self._model.operation_model(operation)
        if (wrong := _wrong(body, model.input_shape)) is not None:
            return 400, {"__type": "InvalidParameterException", "message": wrong}
        try:
            with self._lock:
                answer = self._operate(operation, body)
        except RefusedError as error:
            return 400, {"__type": error.code, "message": str(error)}
        if (wrong := _wrong(answer, model.output_shape)) is not None:
            raise AssertionError(f"not an answer of {operation}: {wrong}")
        self.after(operation, body)
        return 200, answer

    def _operate(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeServices" and self.stale and self._shown:
            self.stale -= 1
            return self._shown
        answer = self.operations.answer(operation, body)
        if operation == "DescribeServices":
            self._shown = json.loads(json.dumps(answer))
        return answer


@cache
def _model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")


def _wrong(document: Any, shape: Any) -> str | None:
    report = ParamValidator().validate(document, shape)
    return report.generate_report() if report.has_errors() else None
