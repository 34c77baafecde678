"""An AWS on loopback: moto in this process, with Secrets Manager's rules as AWS documents them, and faults on demand.

    python -m keyturn.testing.aws_double --port 5000

Point any AWS client's endpoint at it, with any credentials. Secrets Manager follows keyturn.testing.aws_rules; every
other service (STS, KMS, IAM, ...) is moto's. State is in memory, and one for the process. Needs `keyturn[demo]`.

Control, as JSON over HTTP:

    GET    /_double/calls     {"PutSecretValue": 3, ...}: calls per operation, refused ones too; ready when it answers
    DELETE /_double/calls     count from zero
    POST   /_double/faults    {"operation": "PutSecretValue", "kind": "throttled", "times": 2, "after": 0}; "*": any
    DELETE /_double/faults    no faults any more
    POST   /_double/reset     no secrets, keys, faults or counts any more

The kinds of fault are `Kind`'s. `after`: let so many calls through first. `times`: 0 means until further notice.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import run_wsgi_app

from keyturn.testing.aws_rules import Body, Call, Lambda, SecretsManagerRules

Environ = dict[str, Any]
_JSON = "application/x-amz-json-1.1"


class Kind(StrEnum):
    """What can go wrong with a call."""

    THROTTLED = "throttled"  # 400 ThrottlingException, nothing done
    FAILED = "failed"  # 500 InternalServiceError, nothing done
    DENIED = "denied"  # 400 AccessDeniedException, nothing done
    EXPIRED = "expired"  # 400 ExpiredTokenException, nothing done
    KMS = "kms"  # 400 KMSInvalidStateException, nothing done
    UNDECRYPTED = "undecrypted"  # 400 DecryptionFailure, nothing done
    UNENCRYPTED = "unencrypted"  # 400 EncryptionFailure, nothing done
    SLOW = "slow"  # done after `seconds`
    LOST = "lost"  # done, and the connection is cut before the answer


_REFUSALS = {
    Kind.THROTTLED: (400, "ThrottlingException", "Rate exceeded"),
    Kind.FAILED: (500, "InternalServiceError", "An error occurred on the server side."),
    Kind.DENIED: (400, "AccessDeniedException", "The caller is not authorized to perform this action."),
    Kind.KMS: (400, "KMSInvalidStateException", "The request was rejected because the key's state is not valid."),
    Kind.UNDECRYPTED: (400, "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text."),
    Kind.UNENCRYPTED: (400, "EncryptionFailure", "Secrets Manager can't encrypt the protected secret text."),
    Kind.EXPIRED: (400, "ExpiredTokenException", "The security token included in the request is expired"),
}


@dataclass(slots=True)
class Fault:
    """One kind of fault for the coming calls of an operation."""

    operation: str
    kind: Kind
    times: int = 1
    after: int = 0
    seconds: float = 1.0


class AWSDouble:
    """The double as a WSGI application, and as a server in a thread (`start`, `stop`).

    `before`: called with operation and body ahead of each AWS call, outside every lock. A test makes somebody else act
    at that very moment.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.before: Callable[[str, Body], None] = lambda operation, body: None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._rules = SecretsManagerRules()
        self._lock = threading.Lock()
        self._server: BaseWSGIServer | None = None

    def inject(self, operation: str, kind: Kind, *, times: int = 1, after: int = 0, seconds: float = 1.0) -> None:
        """See Fault."""
        with self._lock:
            self.faults.append(Fault(operation, Kind(kind), times, after, seconds))

    @property
    def lambdas(self) -> dict[str, Lambda]:
        """What RotateSecret invokes, by ARN. It answers first: the four steps run in a thread of their own."""
        return self._rules.lambdas

    def show_replicas(self, region: str, status: str, message: str = "") -> None:
        """What DescribeSecret says of every replica in this region from now on."""
        self._rules.replica_states[region] = (status, message)

    def heal(self) -> None:
        """No faults, nobody who acts, replicas in sync, counts from zero."""
        self._rules.replica_states.clear()
        with self._lock:
            self.faults.clear()
            self.calls.clear()
        self.before = lambda operation, body: None

    def start(self, port: int = 0) -> str:
        """Serve on loopback from a thread; gives the address."""
        self._server = make_server("127.0.0.1", port, self, threaded=True, request_handler=_QuietHandler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Close the port that `start` opened."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(raw)
        if environ["PATH_INFO"].startswith("/_double/"):
            status, answer = self._control(environ["REQUEST_METHOD"], environ["PATH_INFO"], raw)
            return _respond(start_response, status, json.dumps(answer).encode(), "application/json")
        operation = _operation(environ, raw)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        self.before(operation, json.loads(raw) if target else {})
        fault = self._due(operation)
        if fault is not None and fault.kind in _REFUSALS:
            status, code, message = _REFUSALS[fault.kind]
            return _respond(start_response, status, _error(code, message, bool(target)), _JSON if target else "text/xml")
        if fault is not None and fault.kind is Kind.SLOW:
            time.sleep(fault.seconds)
        status, content, kind = self._answer(environ, operation, target, raw)
        if fault is not None and fault.kind is Kind.LOST:
            _cut(environ["werkzeug.socket"])
        return _respond(start_response, status, content, kind)

    def _answer(self, environ: Environ, operation: str, target: str, raw: bytes) -> tuple[int, bytes, str]:
        if not target.startswith("secretsmanager."):
            return self._ask_moto(environ, raw)

        def ask(other: str, body: Body) -> tuple[int, Body]:
            asked = {**environ, "HTTP_X_AMZ_TARGET": f"secretsmanager.{other}"}
            status, content, _ = self._ask_moto(asked, json.dumps(body).encode())
            return status, json.loads(content)

        status, answer = self._rules.answer(Call(operation, _region(environ), json.loads(raw), ask))
        return status, json.dumps(answer).encode(), _JSON

    def _ask_moto(self, environ: Environ, raw: bytes) -> tuple[int, bytes, str]:
        asked = {**environ, "wsgi.input": io.BytesIO(raw), "CONTENT_LENGTH": str(len(raw))}
        chunks, status, headers = run_wsgi_app(self._moto, asked, buffered=True)
        return int(status.split()[0]), b"".join(chunks), headers.get("Content-Type", _JSON)

    def _due(self, operation: str) -> Fault | None:
        with self._lock:
            self.calls[operation] += 1
            for fault in [fault for fault in self.faults if fault.operation in (operation, "*")]:
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None

    def _control(self, method: str, path: str, raw: bytes) -> tuple[int, Any]:
        match method, path.removeprefix("/_double/"):
            case "GET", "calls":
                return 200, dict(self.calls)
            case "DELETE", "calls":
                self.calls.clear()
            case "POST", "faults":
                try:
                    self.inject(**json.loads(raw))
                except (TypeError, ValueError) as error:
                    return 400, {"error": str(error)}
            case "DELETE", "faults":
                self.faults.clear()
            case "POST", "reset":
                moto_api_backend.reset()
                self.heal()
            case _:
                return 404, {"error": "see the module's text"}
        return 200, {}


class _QuietHandler(MotoRequestHandler):
    """No line per request: the calls are counted instead."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _operation(environ: Environ, raw: bytes) -> str:
    """The operation's name, in AWS's JSON protocol (a header) or its query protocol (a form)."""
    target: str = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2]
    action = parse_qs(raw.decode("latin-1")).get("Action", [])
    return action[0] if action else f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"


def _region(environ: Environ) -> str:
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return scope[1] if scope else "us-east-1"


def _error(code: str, message: str, as_json: bool) -> bytes:
    if as_json:
        return json.dumps({"__type": code, "message": message}).encode()
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>".encode()


def _respond(start_response: Any, status: int, content: bytes, kind: str) -> list[bytes]:
    start_response(f"{status} {'OK' if status < 400 else 'Refused'}", [("Content-Type", kind)])
    return [content]


def _cut(connection: socket.socket) -> None:
    """Reset, not closed: the client must not be able to take what follows for an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m keyturn.testing.aws_double", description="An AWS on loopback.")
    parser.add_argument("--port", type=int, default=5000)
    port: int = parser.parse_args().port
    double = AWSDouble()
    double.start(port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        double.stop()


if __name__ == "__main__":
    main()
