"""The endpoints of OpenAI that the simulator serves under /v1, over an `Organization`."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyturn.material import KeyMaterial
from keyturn.testing.faults import Fault
from keyturn.testing.loopback import reset_connection
from keyturn.testing.openai_organization import Call, Key, Organization, Project, ServiceAccount

_PROJECT = "/organization/projects/{project}"
_WIDTHS = {"1m": (60, 60), "1h": (3600, 24), "1d": (86400, 7)}  # bucket_width -> seconds, buckets by default
_PAGE_LIMITS = range(1, 101)
# After the heading in OpenAI's guide to error codes: what the API itself says is not published. LiteLLM hands on no code.
_WORDS = {"ip_not_authorized": "Your IP is not authorized."}


class _RefusedRequest(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    def answer(self) -> Response:
        return _error(self.status, self.message, self.code)


def _error(status: int, message: str, code: str | None, headers: Mapping[str, str] | None = None) -> Response:
    kind = {401: "invalid_request_error", 429: code or "requests"}.get(status)
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status, dict(headers or {}))


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint, and the names of the parameters that it knows."""

    group: Literal["admin", "inference"]
    method: str
    path: str
    query: frozenset[str] = frozenset()
    body: frozenset[str] | None = frozenset()  # None: not looked at


OPERATIONS = {
    "get_project": Operation("admin", "GET", _PROJECT),
    "list_keys": Operation("admin", "GET", f"{_PROJECT}/api_keys", frozenset({"after", "limit", "owner_project_access"})),
    "get_key": Operation("admin", "GET", f"{_PROJECT}/api_keys/{{key}}"),
    "delete_key": Operation("admin", "DELETE", f"{_PROJECT}/api_keys/{{key}}"),
    "list_accounts": Operation("admin", "GET", f"{_PROJECT}/service_accounts", frozenset({"after", "limit"})),
    "create_account": Operation(
        "admin",
        "POST",
        f"{_PROJECT}/service_accounts",
        body=frozenset({"name", "create_service_account_only", "expires_in_seconds"}),
    ),
    "get_account": Operation("admin", "GET", f"{_PROJECT}/service_accounts/{{account}}"),
    "update_account": Operation(
        "admin", "POST", f"{_PROJECT}/service_accounts/{{account}}", body=frozenset({"name", "role"})
    ),
    "delete_account": Operation("admin", "DELETE", f"{_PROJECT}/service_accounts/{{account}}"),
    "create_key": Operation(
        "admin",
        "POST",
        f"{_PROJECT}/service_accounts/{{account}}/api_keys",
        body=frozenset({"name", "scopes", "expires_in_seconds"}),
    ),
    "usage": Operation(
        "admin",
        "GET",
        "/organization/usage/completions",
        frozenset(
            {"start_time", "end_time", "bucket_width", "project_ids", "api_key_ids", "group_by", "limit", "page"}
            | {"user_ids", "models", "batch"}
        ),
    ),
    "models": Operation("inference", "GET", "/models"),
    "chat": Operation("inference", "POST", "/chat/completions", body=None),
}


class Endpoints:
    """The endpoints under /v1. Each method named as an operation gives its answer, or raises _RefusedRequest."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization

    def routes(self) -> list[Route]:
        return [
            Route(f"/v1{operation.path}", self._endpoint(name, operation), methods=[operation.method])
            for name, operation in OPERATIONS.items()
        ]

    def _endpoint(self, name: str, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        handler: Callable[[Request, Mapping[str, Any], Key | None], Awaitable[Response]] = getattr(self, f"_{name}")

        async def endpoint(request: Request) -> Response:
            organization = self.organization
            caller = _bearer(request)
            key = organization.keys.get(caller.fingerprint()) if caller else None

            def record(status: int, outcome: str) -> None:
                fingerprint = caller.fingerprint() if caller else ""
                organization.calls.append(
                    Call(organization.clock(), name, status, outcome, fingerprint, key.id if key else "")
                )

            refusal = self._refusal(operation.group, caller, key)
            if refusal is not None:
                record(refusal.status_code, "rejected")
                return refusal
            if key is not None:
                organization.used(key, completion=name == "chat")
            behaviour = organization.behaviour
            await asyncio.sleep(behaviour.admin_latency if operation.group == "admin" else behaviour.latency)
            fault = organization.fault_for(name, operation.group, key.id if key else "", _address(request))
            if fault is not None and not fault.commit and (failure := await _suffer(request, fault, record)):
                return failure
            try:
                answer = await handler(request, await _parameters(request, operation), key)
            except _RefusedRequest as refused:
                answer = refused.answer()
            if fault is not None and fault.commit and (failure := await _suffer(request, fault, record)):
                return failure
            record(answer.status_code, "served" if answer.status_code < 400 else "failed")
            return answer

        return endpoint

    def _refusal(self, group: str, caller: KeyMaterial | None, key: Key | None) -> Response | None:
        if caller is None:
            return _error(401, "You didn't provide an API key.", None)
        live = key is not None and key.accepted(self.organization.clock())
        if group == "admin" and live:
            return _error(403, "You have insufficient permissions for this operation. Missing scopes.", "missing_scope")
        known = self.organization.is_admin(caller.fingerprint()) if group == "admin" else live
        if known:
            return None
        text = caller.reveal()
        return _error(401, f"Incorrect API key provided: {text[:8]}********{text[-4:]}.", "invalid_api_key")

    def _project_of(self, request: Request, *, active: bool = False) -> Project:
        project = self.organization.projects.get(request.path_params["project"])
        if project is None:
            raise _RefusedRequest(404, "No such project.", "not_found")
        if active and project.archived_at:
            raise _RefusedRequest(400, "The project is archived.", "project_archived")
        return project

    def _account_of(self, request: Request) -> ServiceAccount:
        project = self._project_of(request, active=True)
        account = self.organization.accounts.get(request.path_params["account"])
        if account is None or account.project != project.id:
            raise _RefusedRequest(404, "No such service account.", "not_found")
        return account

    def _key_of(self, request: Request) -> Key:
        project = self._project_of(request)
        for key in self.organization.listed(project.id):
            if key.id == request.path_params["key"]:
                return key
        raise _RefusedRequest(404, "No such API key.", "not_found")

    async def _get_project(self, request: Request, _parameters: object, _key: object) -> Response:
        return JSONResponse(self._project_of(request).shown())

    async def _list_keys(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        organization, wanted = self.organization, parameters.get("owner_project_access")
        if wanted not in (None, "any", "active", "inactive"):
            raise _RefusedRequest(400, "Invalid value for owner_project_access.", "invalid_value")
        shown = {"any": {"active", "inactive"}, None: {"active"}}.get(wanted, {wanted})
        keys = organization.listed(self._project_of(request).id)
        listed = [key for key in reversed(keys) if organization.access(key) in shown]
        return JSONResponse(_page([organization.shown(key) for key in listed], parameters))

    async def _get_key(self, request: Request, _parameters: object, _key: object) -> Response:
        return JSONResponse(self.organization.shown(self._key_of(request)))

    async def _delete_key(self, request: Request, _parameters: object, _key: object) -> Response:
        key = self._key_of(request)
        if key.account and self.organization.behaviour.account_keys_undeletable:
            raise _RefusedRequest(400, "The key belongs to a service account.", "service_account_key")
        self.organization.delete_key(key)
        return JSONResponse({"object": "organization.project.api_key.deleted", "id": key.id, "deleted": True})

    async def _list_accounts(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        project = self._project_of(request, active=True)
        accounts = [account.shown() for account in self.organization.accounts.values() if account.project == project.id]
        return JSONResponse(_page(list(reversed(accounts)), parameters))

    async def _create_account(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        project = self._project_of(request, active=True)
        name = parameters.get("name")
        if not isinstance(name, str) or not name:
            raise _RefusedRequest(400, "Missing required parameter: name.", "missing_required_parameter")
        alone = parameters.get("create_service_account_only") is True
        expires_in = parameters.get("expires_in_seconds")
        if alone and expires_in is not None:
            raise _RefusedRequest(400, "expires_in_seconds needs a key.", "invalid_value")
        if not alone:
            self._check_lifetime(expires_in)
        account = self.organization.add_account(project.id, name, role="none" if alone else "member")
        key = None if alone else self._new_key(account, "Secret Key", expires_in)
        return JSONResponse({**account.shown(), "api_key": key})

    async def _get_account(self, request: Request, _parameters: object, _key: object) -> Response:
        return JSONResponse(self._account_of(request).shown())

    async def _update_account(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        account = self._account_of(request)
        account.name = parameters.get("name", account.name)
        account.role = parameters.get("role", account.role)
        return JSONResponse(account.shown())

    async def _delete_account(self, request: Request, _parameters: object, _key: object) -> Response:
        account = self._account_of(request)
        self.organization.delete_account(account)
        return JSONResponse({"object": "organization.project.service_account.deleted", "id": account.id, "deleted": True})

    async def _create_key(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        account = self._account_of(request)
        self._check_lifetime(parameters.get("expires_in_seconds"))
        name = parameters.get("name") or "Secret Key"
        return JSONResponse(self._new_key(account, name, parameters.get("expires_in_seconds")))

    def _check_lifetime(self, seconds: object) -> None:
        longest = self.organization.behaviour.max_key_lifetime
        if seconds is None and longest is None:
            return
        if not isinstance(seconds, int) or not 1 <= seconds <= min(31536000, longest or 31536000):
            raise _RefusedRequest(400, "Invalid or missing expires_in_seconds.", "invalid_value")

    def _new_key(self, account: ServiceAccount, name: str, expires_in: int | None) -> dict[str, Any]:
        key, material = self.organization.add_key(account.project, name, account=account.id, expires_in=expires_in)
        return {
            "object": "organization.project.service_account.api_key",
            "id": key.id,
            "name": key.name,
            "value": material.reveal(),
            "created_at": int(key.created_at),
            "expires_at": key.expires_at,
        }

    async def _usage(self, request: Request, parameters: Mapping[str, Any], _key: object) -> Response:
        width, default = _WIDTHS.get(str(parameters.get("bucket_width", "1d")), (0, 0))
        try:
            start = int(parameters.get("page") or parameters["start_time"])
            end = int(parameters.get("end_time") or self.organization.clock() + 1)
            buckets = range(start - start % width, end, width)
            limit = int(parameters.get("limit", default))
        except (KeyError, ValueError, ZeroDivisionError):
            raise _RefusedRequest(400, "Invalid start_time, bucket_width, limit or page.", "invalid_value") from None
        wanted = request.query_params.getlist("api_key_ids[]") or request.query_params.getlist("api_key_ids")
        keys = [key for key in self.organization.keys.values() if not wanted or key.id in wanted]
        by_key = "api_key_id" in (request.query_params.getlist("group_by[]") + request.query_params.getlist("group_by"))
        data = []
        for begin in buckets[:limit]:
            counts = {key.id: self.organization.completions(key, begin, begin + width) for key in keys}
            rows = counts if by_key else {None: sum(counts.values())}
            results = [_usage_row(key_id, requests) for key_id, requests in rows.items() if requests]
            data.append({"object": "bucket", "start_time": begin, "end_time": begin + width, "results": results})
        more = len(buckets) > limit
        following = str(buckets[limit]) if more else None
        return JSONResponse({"object": "page", "data": data, "has_more": more, "next_page": following})

    async def _models(self, _request: Request, _parameters: object, _key: object) -> Response:
        models = [
            {"id": name, "object": "model", "created": 1700000000, "owned_by": "simulator"}
            for name in self.organization.behaviour.models
        ]
        return JSONResponse({"object": "list", "data": models})

    async def _chat(self, _request: Request, parameters: Mapping[str, Any], key: Key | None) -> Response:
        model = parameters.get("model")
        if not isinstance(model, str) or not isinstance(parameters.get("messages"), list):
            raise _RefusedRequest(400, "model and messages are required.", "missing_required_parameter")
        if model not in self.organization.behaviour.models:
            raise _RefusedRequest(404, "The model does not exist or you do not have access to it.", "model_not_found")
        text = f"served-by {key.fingerprint if key else ''}"
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(self.organization.clock()), "model": model}
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        behaviour = self.organization.behaviour
        seconds = behaviour.answer_seconds.get(model, 0.0)
        if parameters.get("stream"):
            with_usage = bool((parameters.get("stream_options") or {}).get("include_usage"))
            gap = seconds / (behaviour.stream_chunks - 1 or 1) or behaviour.stream_gap
            chunks = _stream(head, text, behaviour.stream_chunks, gap, usage if with_usage else None)
            return StreamingResponse(chunks, media_type="text/event-stream")
        await asyncio.sleep(seconds)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def _stream(
    head: Mapping[str, Any], text: str, parts: int, gap: float, usage: Mapping[str, int] | None
) -> AsyncIterator[str]:
    def event(**rest: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **rest})}\n\n"

    def choice(delta: Mapping[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]

    yield event(choices=choice({"role": "assistant", "content": text}))
    for number in range(1, parts):
        await asyncio.sleep(gap)
        yield event(choices=choice({"content": f" {number}"}))
    yield event(choices=choice({}, "stop"))
    if usage is not None:
        yield event(choices=[], usage=usage)
    yield "data: [DONE]\n\n"


def _usage_row(key_id: str | None, requests: int) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 5 * requests,
        "output_tokens": 3 * requests,
        "num_model_requests": requests,
        "api_key_id": key_id,
    }


def _page(items: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        limit = int(parameters.get("limit", 20))
    except ValueError:
        limit = 0
    if limit not in _PAGE_LIMITS:
        raise _RefusedRequest(400, "limit must be between 1 and 100.", "invalid_value")
    after = parameters.get("after")
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise _RefusedRequest(400, "after names nothing.", "invalid_value")
        items = items[ids.index(after) + 1 :]
    data = items[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(items) > limit,
    }


def _address(request: Request) -> str:
    """Where it comes from. All come from loopback: one that is to come from elsewhere says so, as a balancer would."""
    return request.headers.get("x-forwarded-for") or (request.client.host if request.client else "")


def _bearer(request: Request) -> KeyMaterial | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        return KeyMaterial(text) if scheme.lower() == "bearer" else None
    except ValueError:
        return None


async def _parameters(request: Request, operation: Operation) -> Mapping[str, Any]:
    """Query and body in one mapping. 400 for a name that the operation does not know, as OpenAI answers."""
    query = {name.removesuffix("[]"): value for name, value in request.query_params.items()}
    body: Any = {}
    if operation.method == "POST":
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            raise _RefusedRequest(400, "We could not parse the JSON body of your request.", None) from None
        if not isinstance(body, dict):
            raise _RefusedRequest(400, "The body must be an object.", None)
    unknown = (set(query) - operation.query) | (set() if operation.body is None else set(body) - operation.body)
    if unknown:
        raise _RefusedRequest(400, f"Unknown parameter: {sorted(unknown)[0]}.", "unknown_parameter")
    return {**query, **body}


async def _suffer(request: Request, fault: Fault, record: Callable[[int, str], None]) -> Response | None:
    """What the fault answers; None when it only took time."""
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return None
    if fault.kind == "reset":
        record(0, "lost")  # before the caller can notice
        await reset_connection(request)
        return Response()
    answer = _failure(fault)
    record(answer.status_code, "failed")
    return answer


def _failure(fault: Fault) -> Response:
    if fault.kind == "throttle":
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        return _error(429, "Rate limit reached.", "rate_limit_exceeded", headers)
    if fault.kind == "quota":
        return _error(429, "You exceeded your current quota.", "insufficient_quota")
    if fault.kind == "html":
        return HTMLResponse("<html><body><h1>A page that is not OpenAI's</h1></body></html>", fault.status)
    return _error(fault.status, _WORDS.get(fault.code or "", "A simulated failure."), fault.code)
