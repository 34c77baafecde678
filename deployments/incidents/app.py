"""The service's HTTP face.

    POST /incidents            a caller    keyturn.incidents.call says what
    POST /incidents/SOURCE     a scanner   its own form
    GET  /incidents/RUN        a caller    how far the run is
         202 {"id", "address", "runs": [...]}   the run has begun, or had begun for the same leak
         202 {"runs": []}   a scanner's report of nothing of ours   404 a caller's, and anything unknown
         400 cannot be read   413 too large   429 too often   503 a store or Prefect does not answer: send it again
         401 whatever was asked, for whoever is not known

No answer and no line of the log repeats anything of a request.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.incidents.desk import Desk, Progress, Run
from deployments.incidents.entrance import Entrance, TooLargeError, Visitor
from deployments.incidents.reports import Report, of_caller, of_source
from keyturn import faults
from keyturn.errors import KeyturnError, NotFoundError
from keyturn.json_object import UnreadableError

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

log = logging.getLogger("keyturn.incidents")


def incident_app(desk: Desk, entrance: Entrance) -> ASGIApp:
    """The application. Nothing that is raised inside comes out: it would be logged with what it holds."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await _answer(desk, entrance, Request(scope, receive))
        except Exception as error:
            log.error("a fault of keyturn's: %s", faults.describe(error))
            answer = _error(500, "a fault of keyturn's")
        await answer(scope, receive, send)

    return app


async def _answer(desk: Desk, entrance: Entrance, request: Request) -> Response:
    visitor = await entrance.visitor(request)
    seconds = entrance.wait(visitor)
    if seconds is not None:
        return _error(429, "too many requests", {"Retry-After": str(math.ceil(seconds))})
    if visitor is None:
        return _error(401, "not accepted", {"WWW-Authenticate": "Bearer"})
    try:
        return await _let_in(desk, entrance, request, visitor)
    except TooLargeError:
        return _error(413, "larger than is taken, or it did not come")
    except UnreadableError:
        return _error(400, "not of the form that is read here")
    except NotFoundError:
        return _error(404, "not found")
    except KeyturnError as error:
        log.error("a report of %s was not acted on: %s", visitor.name, error.message)
        return _error(503, "a store, or Prefect, does not answer: send it again", {"Retry-After": "15"})


async def _let_in(desk: Desk, entrance: Entrance, request: Request, visitor: Visitor) -> Response:
    if visitor.source is not None:
        report = await of_source(desk, visitor.name, visitor.source, await entrance.body(request, visitor))
        return await _begin(desk, visitor, report)
    if request.url.path == "/incidents" and request.method == "POST":
        report = await of_caller(desk, await entrance.body(request, visitor))
        return await _begin(desk, visitor, report)
    run = _run_id(request.url.path)
    progress = await desk.tell(run) if run is not None and request.method == "GET" else None
    if progress is None:
        raise NotFoundError("nothing is there")
    return _json(200, _told(progress))


async def _begin(desk: Desk, visitor: Visitor, report: Report) -> Response:
    runs = await desk.start(report.subjects, report.policy) if report.subjects else ()
    for run in runs:
        what = "began" if run.begun else "is there already"
        log.info("%s reported a leak: run %s of %s %s", visitor.name, run.id, ", ".join(run.credentials), what)
    if report.strange:
        log.info("%s reported %d that no store holds", visitor.name, report.strange)
    return _json(202, _accepted(runs, report))


def _accepted(runs: Sequence[Run], report: Report) -> dict[str, Any]:
    first = {"id": str(runs[0].id), "address": _address(runs[0].id)} if runs else {}
    each = [
        {"id": str(run.id), "address": _address(run.id), "credentials": run.credentials, "begun": run.begun} for run in runs
    ]
    return {**first, "runs": each, "unknown": report.strange, "stores_not_seen": bool(report.unseen)}


def _told(progress: Progress) -> dict[str, Any]:
    return {
        "id": str(progress.id),
        "state": progress.state,
        "credentials": progress.credentials,
        "began": progress.began,
        "ended": progress.ended,
        "steps": list(progress.steps),
    }


def _address(run: UUID) -> str:
    return f"/incidents/{run}"


def _run_id(path: str) -> UUID | None:
    try:
        return UUID(path.removeprefix("/incidents/")) if path.startswith("/incidents/") else None
    except ValueError:
        return None


def _json(status: int, content: dict[str, Any]) -> JSONResponse:
    headers = {**_HEADERS, "Location": content["address"]} if "address" in content else _HEADERS
    return JSONResponse(content, status, headers)


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, {**_HEADERS, **(headers or {})})
