"""A Kubernetes API server on loopback: objects, versions, RBAC, watches and refusals, with faults on demand.

    python -m keyturn.testing.kubernetes_double --port 6443 [--token-env NAME] [--namespace NAME] ... [--workloads]

Any Kubernetes client may be pointed at it, the official Python one unchanged. It keeps Secrets, Namespaces, ServiceAccounts
and the objects of RBAC (`Resource`s of kubernetes_objects; further kinds are handed to KubernetesDouble), and answers
TokenReview, TokenRequest, SelfSubjectAccessReview and SelfSubjectRulesReview. State is in memory. As a program it has one
administrator, whose token stands in the variable $KUBERNETES_TOKEN. With `--workloads` there are Deployments, StatefulSets,
DaemonSets and Pods, too, and all that moves them (kubernetes_workloads.py; control: kubernetes_workload_control.py).

What it does not know it refuses with 400 (field selectors but for metadata.name, `dryRun`, `continue`) or 415 (server-side
apply, protobuf), instead of doing something else. There is no discovery; but for workloads there are no controllers.

Control, as JSON over HTTP, without authentication since only loopback can reach it:

    GET    /_double/calls     {"create secrets": 3, ...}: calls per verb and resource, refused ones too
    DELETE /_double/calls     count from zero
    POST   /_double/faults    {"call": "update secrets", "kind": "throttled", "times": 2, "after": 0}; "*": any call
    DELETE /_double/faults    no faults any more
    POST   /_double/reset     no objects but the namespaces, no faults, no counts any more

The kinds of fault are `Kind`'s. `after`: let so many calls through first. `times`: 0 means until further notice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from keyturn.testing import kubernetes_refusals as refusals
from keyturn.testing.kubernetes_access import ADMIN, RBAC, Access
from keyturn.testing.kubernetes_containers import Played
from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_refusals import Object, RefusedError
from keyturn.testing.kubernetes_requests import Call, answer, parse
from keyturn.testing.kubernetes_secrets import CORE, NAMESPACES
from keyturn.testing.kubernetes_workload_control import WorkloadControl
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads
from keyturn.testing.loopback import LoopbackServer, reset_connection

_LARGEST_BODY = 3 * 1024 * 1024


class Kind(StrEnum):
    """What can go wrong with a call. Nothing is done but for SLOW and LOST."""

    UNAUTHORIZED = "unauthorized"  # 401
    DENIED = "denied"  # 403
    CONFLICT = "conflict"  # 409, though nobody changed anything
    THROTTLED = "throttled"  # 429 with Retry-After
    CROWDED = "crowded"  # 429 in plain text, as priority and fairness sends it
    FAILED = "failed"  # 500
    UNAVAILABLE = "unavailable"  # 503
    TIMED_OUT = "timed_out"  # 504
    SLOW = "slow"  # done after `seconds`
    LOST = "lost"  # done, and the connection is reset before the answer
    RESET = "reset"  # not done, and the connection is reset


_REFUSALS: dict[Kind, Callable[[Call], RefusedError]] = {
    Kind.UNAUTHORIZED: lambda call: refusals.unauthorized(),
    Kind.DENIED: lambda call: refusals.forbidden("nobody", call.verb, call.about, call.namespace, call.subresource),
    Kind.CONFLICT: lambda call: refusals.conflict(call.about),
    Kind.THROTTLED: lambda call: refusals.throttled(),
    Kind.CROWDED: lambda call: refusals.crowded(),
    Kind.FAILED: lambda call: refusals.failed(),
    Kind.UNAVAILABLE: lambda call: refusals.unavailable(),
    Kind.TIMED_OUT: lambda call: refusals.timed_out(),
}


@dataclass(slots=True)
class Fault:
    """One kind of fault for the coming calls of a verb and a resource, as in `calls`."""

    call: str
    kind: Kind
    times: int = 1
    after: int = 0
    seconds: float = 1.0


class KubernetesDouble(LoopbackServer):
    """The double on loopback, from a thread of this process. A context manager: inside it answers at `url`.

    `before`: called ahead of each call, in a thread of its own. A test makes somebody else act at that very moment.
    `certificate`: files of a certificate and its key, to serve TLS with. `now`: what its objects' moments are told by.
    """

    def __init__(
        self,
        *,
        namespaces: Iterable[str] = ("default",),
        further: Sequence[Resource] = (),
        admin_token: str | None = None,
        port: int = 0,
        certificate: tuple[Path, Path] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # uvicorn takes a bound method for a class
            await self._serve(scope, receive, send)

        super().__init__(app, port=port, certificate=certificate)
        self.cluster = Cluster((*CORE, *RBAC, *further), now)
        self.access = Access(self.cluster)
        self.admin_token = self.access.add(ADMIN, admin_token)
        self.namespaces = tuple(namespaces)
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.before: Callable[[Call], None] | None = None
        self.controls: dict[str, Callable[[Any], Any]] = {}  # further ones, by path: asked (None) by GET, told by POST
        self._lock = threading.Lock()
        self._make_namespaces()

    def inject(self, call: str, kind: Kind | str, *, times: int = 1, after: int = 0, seconds: float = 1.0) -> None:
        """See Fault."""
        with self._lock:
            self.faults.append(Fault(call, Kind(kind), times, after, seconds))

    def heal(self) -> None:
        """No faults, nobody who acts, counts from zero."""
        with self._lock:
            self.faults.clear()
            self.calls.clear()
        self.before = None

    def account(self, name: str, rules: Sequence[Object], *, namespace: str = "default") -> str:
        """A service account that may do what these rules of a Role say, and nothing else; gives its token."""
        return self.access.with_rules(namespace, name, rules)

    def _make_namespaces(self) -> None:
        for name in self.namespaces:
            self.cluster.create(NAMESPACES, "", {"metadata": {"name": name}})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except RefusedError as error:
            response = _refusal(error)
        except (ClientDisconnect, ConnectionResetError):
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        raw = await self._body(request)
        if request.url.path.startswith("/_double/"):
            return self._control(request.method, request.url.path.removeprefix("/_double/"), raw)
        user = self.access.user(request.headers.get("authorization"))
        call = parse(self.cluster, request.method, request.scope["path"], request.query_params)
        if self.before is not None:
            await run_in_threadpool(self.before, call)
        fault = self._due(f"{call.verb} {call.about.plural}".strip())
        if fault is not None and fault.kind in _REFUSALS:
            raise _REFUSALS[fault.kind](call)
        if fault is not None and fault.kind is Kind.RESET:
            await reset_connection(request)
            raise ClientDisconnect
        if fault is not None and fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        response = answer(self.cluster, self.access, user, call, request, raw)
        if fault is not None and fault.kind is Kind.LOST:
            await reset_connection(request)
            raise ClientDisconnect
        return response

    @staticmethod
    async def _body(request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_BODY:
                raise refusals.too_large(_LARGEST_BODY)
        return bytes(body)

    def _due(self, call: str) -> Fault | None:
        with self._lock:
            self.calls[call] += 1
            for fault in [fault for fault in self.faults if fault.call in (call, "*")]:
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None

    def _control(self, method: str, path: str, raw: bytes) -> Response:
        match method, path:
            case "GET", "calls":
                return JSONResponse(dict(self.calls))
            case "DELETE", "calls":
                self.calls.clear()
            case "POST", "faults":
                try:
                    self.inject(**json.loads(raw))
                except (TypeError, ValueError) as error:
                    return JSONResponse({"error": str(error)}, 400)
            case "DELETE", "faults":
                self.faults.clear()
            case "POST", "reset":
                self.cluster.clear()
                self.heal()
                self._make_namespaces()
            case "GET" | "POST", _ if path in self.controls:
                try:
                    return JSONResponse(self.controls[path](json.loads(raw) if method == "POST" else None))
                except (TypeError, ValueError, RefusedError) as error:
                    return JSONResponse({"error": str(error)}, 400)
            case _:
                return JSONResponse({"error": "see the module's text"}, 404)
        return JSONResponse({})


def _refusal(error: RefusedError) -> Response:
    if isinstance(error.body, str):
        return PlainTextResponse(error.body, error.status, error.headers)
    return JSONResponse(error.body, error.status, error.headers)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: see the module's docstring. Exit code 2 when there is no token."""
    parser = argparse.ArgumentParser(prog="python -m keyturn.testing.kubernetes_double")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-env", default="KUBERNETES_TOKEN")
    parser.add_argument("--namespace", action="append")
    parser.add_argument("--workloads", action="store_true")
    options = parser.parse_args(arguments)
    token = os.environ.get(options.token_env, "")
    if not token:
        sys.stderr.write(f"set the variable {options.token_env} to the administrator's token\n")
        return 2
    spaces = options.namespace or ("default",)
    if not options.workloads:
        KubernetesDouble(namespaces=spaces, admin_token=token, port=options.port).run()
        return 0
    double = KubernetesDouble(namespaces=spaces, further=WORKLOADS, admin_token=token, port=options.port)
    runtime = Played(double.cluster.now)
    workloads = Workloads(double.cluster, runtime)
    double.controls["workloads"] = WorkloadControl(workloads, runtime)
    with workloads.moving():
        double.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
