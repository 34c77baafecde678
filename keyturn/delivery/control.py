"""A member's HTTP face: what a roller may ask for, and what a balancer polls. Of a supervisor, or of a key ring.

    GET  /health/readiness, /health/liveliness   200 while the member serves, else 503; nobody need log in
    GET  /v1/status    Bearer token              Controlled.status()
    POST /v1/roll      Bearer token              {"credential": NAME, "fingerprint": OF_THE_VALUE_EXPECTED_IN_THE_STORE}
         202 begun, or under way already   200 served already: nothing is done   409 refused; `busy` true: ask again later
         (`undecided` true: it may be the provider's outage)   404 not a credential of this member
         503 the store cannot be asked, or nothing was rendered for too long

Both health paths tell the same: a balancer may be set to either, and must leave before the program stops. So neither is
the place for a probe that kills: the platform watches the process.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from keyturn.delivery.states import Admission
from keyturn.errors import IndeterminateError, KeyturnError, RetryableError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")

Endpoint = Callable[[Request], Awaitable[Response]]


class Controlled(Protocol):
    """What is asked of a member. See keyturn.delivery.supervisor.Supervisor, which says what each answer means."""

    @property
    def credentials(self) -> Collection[str]: ...

    @property
    def state(self) -> str: ...

    async def ready(self) -> bool: ...

    def status(self) -> dict[str, Any]: ...

    async def roll(self, credential: str, fingerprint: str) -> Admission: ...


def health_app(member: Controlled) -> Starlette:
    """The health paths alone, for a listener that balancers on other hosts may reach."""
    return Starlette(routes=_health_routes(member))


def control_app(member: Controlled, token: KeyMaterial, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Everything, and what else the member answers. Without the right token the answer is 401 whatever was asked."""

    def guarded(endpoint: Endpoint) -> Endpoint:
        async def guard(request: Request) -> Response:
            if not same_text(request.headers.get("authorization", ""), f"Bearer {token.reveal()}"):
                return JSONResponse({"error": "not authorised"}, 401, {"WWW-Authenticate": "Bearer"})
            return await endpoint(request)

        return guard

    async def status(request: Request) -> Response:
        return JSONResponse(member.status())

    async def roll(request: Request) -> Response:
        asked = json_object(await request.body())
        credential, fingerprint = asked.get("credential"), asked.get("fingerprint")
        if not isinstance(credential, str) or not isinstance(fingerprint, str):
            return JSONResponse({"error": "give credential and fingerprint, as JSON"}, 400)
        if not _FINGERPRINT.fullmatch(fingerprint):
            return JSONResponse({"error": "a fingerprint is 16 hex digits"}, 400)
        return await _roll(member, credential, fingerprint)

    return Starlette(
        routes=[
            *_health_routes(member),
            Route("/v1/status", guarded(status), methods=["GET"]),
            Route("/v1/roll", guarded(roll), methods=["POST"]),
            *more,
        ]
    )


async def _roll(member: Controlled, credential: str, fingerprint: str) -> Response:
    if credential not in member.credentials:
        return JSONResponse({"error": "this member does not serve that credential"}, 404)
    try:
        admission = await member.roll(credential, fingerprint)
    except KeyturnError as error:
        code = 503 if isinstance(error, RetryableError) else 409
        undecided = isinstance(error, IndeterminateError)
        answer = {"error": str(error), "busy": False, "undecided": undecided, "state": str(member.state)}
        return JSONResponse(answer, code)
    state = {"state": str(member.state)}
    if admission is Admission.SERVED:
        return JSONResponse({**state, "rolled": False})
    if admission in (Admission.BUSY, Admission.WAITING):
        why = "its new key is not rendered yet" if admission is Admission.WAITING else str(member.state)
        return JSONResponse({**state, "error": f"not now: {why}", "busy": True}, 409)
    return JSONResponse(state, 202)


def _health_routes(member: Controlled) -> list[Route]:
    async def health(request: Request) -> Response:
        ready = await member.ready()
        return JSONResponse({"status": "healthy" if ready else "not ready"}, 200 if ready else 503)

    return [Route(f"/health/{name}", health, methods=["GET"]) for name in ("readiness", "liveliness")]


def same_text(given: str, wanted: str) -> bool:
    """Constant time, also for texts of different lengths."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (given, wanted))
    return hmac.compare_digest(*digests)
