"""A vendor's keys in memory, and what every simulator does with them: logins, faults, a log, and the control of a test.

A simulator is a `Simulator` with its routes:

    class AcmeSimulator(Simulator):
        HELD_BY = HeldBy(By.SDK, "acme 1.2.3", "tests/providers/test_acme.py::test_the_sdk")
        ROUTES = (Route("create_key", "admin", "POST", "/keys", body=("name",)), ...)
        def text(self, literal): ...                        # of a new key, in the vendor's form, with the literal inside
        def admin_of(self, request): ...                    # the text that an admin call is authenticated with
        def key_of(self, request): ...                      # the same for a call with a key; by default the bearer
        def error(self, status, message, code): ...         # the vendor's form of a refusal
        async def create_key(self, call): ...               # by the name of its route: a Response, or a dict for 200

An unknown parameter is refused with 400, by `error`. Control, without authentication since only loopback can reach it:

    GET /_sim/health   GET /_sim/keys   POST /_sim/keys {"name", "owner"?, "value"?}   POST /_sim/age {"seconds"}
    POST /_sim/behaviour {Behaviour}   GET|POST|DELETE /_sim/faults {Fault}   GET /_sim/log
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route as HttpRoute

from keyturn.material import KeyMaterial
from keyturn.testing.faults import Fault, due
from keyturn.testing.loopback import reset_connection
from keyturn.testing.vendors.held_by import HeldBy
from keyturn.testing.vendors.keys import Behaviour, Key

__all__ = ["Behaviour", "Call", "Key", "RefusedError", "Route", "Simulator"]


@dataclass(frozen=True, slots=True)
class Route:
    """`operation`: the method of the simulator that answers. `group`: admin, key (a call with the key under test), open.

    `query`, `body`: the names that it takes; `body` None: not looked at. `reads`: a POST that changes nothing.
    """

    operation: str
    group: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] | None = ()
    reads: bool = False

    @property
    def changes(self) -> bool:
        """Whether the management credential changes something by it."""
        return self.group == "admin" and self.method != "GET" and not self.reads


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as a route's method gets it. `key`: the one that it was made with, in the group key."""

    request: Request
    query: Mapping[str, str]
    body: Mapping[str, Any]
    key: Key | None

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params


@dataclass(frozen=True, slots=True)
class Logged:
    """`outcome`: served, rejected (the login), failed (a fault, or a bad request) or lost (no answer)."""

    operation: str
    status: int
    outcome: str
    fingerprint: str


class RefusedError(Exception):
    """What a route's method raises for a refusal in the vendor's form."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Simulator:
    """See the module's text. `admin`: what the vendor knows of the management credential; `clock`: seconds since 1970."""

    HELD_BY: ClassVar[HeldBy]
    ROUTES: ClassVar[Sequence[Route]]
    # What the management credential may do -> the operations that this is needed for.
    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        "create": frozenset({"create_key"}),
        "list": frozenset({"list_keys"}),
        "delete": frozenset({"delete_key"}),
        "disable": frozenset({"disable_key", "enable_key", "update_key"}),
    }
    TOGETHER: ClassVar[Sequence[frozenset[str]]] = ()  # what the vendor gives, and takes away, as one

    def __init__(self, admin: KeyMaterial, clock: Callable[[], float] = time.time) -> None:
        self.admin_fingerprint = admin.fingerprint()
        self.clock = clock
        self.behaviour = Behaviour()
        self.keys: dict[str, Key] = {}  # by fingerprint, oldest first, deleted ones too
        self.faults: list[Fault] = []
        self.log: list[Logged] = []
        self.anyone = False  # whether any key is accepted, as by a gateway that asks for none
        self.addresses: list[str] = []  # of all requests, with their queries: what ends up in the logs of gateways
        self._numbers = count(1)

    # What a vendor's file says ---------------------------------------------------------------------------------------

    def text(self, literal: str) -> str:
        raise NotImplementedError

    def admin_of(self, request: Request) -> str:
        return bearer_of(request)

    def key_of(self, request: Request) -> str:
        return bearer_of(request)

    def error(self, status: int, message: str, code: str = "") -> Response:
        raise NotImplementedError

    def rejected(self, group: str) -> Response:
        """The answer to a login that is not accepted."""
        return self.error(401, "Unauthorized", "unauthorized")

    def refused(self, group: str, key: Key | None) -> Response:
        """The same, where the vendor tells why: `key` is there, and expired, disabled or deleted. None: nobody has it."""
        return self.rejected(group)

    def denied(self) -> Response:
        """The answer to what the management credential lacks the permission for."""
        return self.error(403, "The credential may not do this")

    def lacks(self, verb: str) -> bool:
        """Whether the management credential may not do this with keys."""
        told = self.behaviour.lacks
        return verb in told or any(verb in group and told & group for group in self.TOGETHER)

    def is_admin(self, request: Request) -> bool:
        """Whether the call is made with the management credential."""
        try:
            return KeyMaterial(self.admin_of(request)).fingerprint() == self.admin_fingerprint
        except ValueError:
            return False

    def chosen(self, request: Request, routes: Sequence[Route]) -> Route:
        """Which of several routes with one address a request means: where a vendor has one address for everything, its body
        says it (`request.state.body`)."""
        return routes[0]

    def new_id(self) -> str:
        return f"key_{next(self._numbers):06d}{secrets.token_hex(6)}"

    # Keys -----------------------------------------------------------------------------------------------------------

    def add_key(
        self,
        name: str,
        *,
        owner: str = "",
        expires_at: float | None = None,
        text: str | None = None,
        id: str | None = None,
        at_once: bool = False,
        **more: Any,
    ) -> tuple[Key, KeyMaterial]:
        """A new key, and its text."""
        now = self.clock()
        material = KeyMaterial(text or self.text(self.behaviour.key_literal))
        shown = material.reveal()
        key = Key(
            id=id or self.new_id(),
            name=name,
            owner=owner,
            fingerprint=material.fingerprint(),
            hint=f"{shown[:8]}...{shown[-4:]}",
            created_at=now,
            accepted_from=now + (0 if at_once else self.behaviour.accept_delay),
            expires_at=expires_at,
            more=more,
        )
        self.keys[key.fingerprint] = key
        return key, material

    def live(self) -> list[Key]:
        """Those that are not deleted, oldest first."""
        return [key for key in self.keys.values() if not key.deleted]

    def by_id(self, id: str) -> Key:
        """RefusedError 404."""
        for key in self.live():
            if key.id == id:
                return key
        raise RefusedError(404, "not found", "not_found")

    def delete(self, key: Key) -> None:
        key.deletions += 1
        for text in self.keys.values():  # a key that was turned has two
            if text.id == key.id:
                text.refused_from = min(text.refused_from, self.clock() + self.behaviour.refuse_delay)

    def turn_key(self, key: Key, old_lives: float) -> tuple[Key, KeyMaterial]:
        """The same key with a new text. The old one is accepted for `old_lives` seconds more, while the key is there."""
        turned, material = self.add_key(
            key.name, owner=key.owner, expires_at=key.expires_at, id=key.id, at_once=True, **key.more
        )
        turned.created_at, turned.uses = key.created_at, list(key.uses)
        key.deletions += 1
        key.refused_from = self.clock() + old_lives
        return turned, material

    def last_use(self, key: Key) -> float | None:
        seen = [use for use in key.uses if use <= self.clock() - self.behaviour.usage_lag]
        return seen[-1] if seen else None

    # Serving --------------------------------------------------------------------------------------------------------

    def app(self) -> Starlette:
        alike: dict[tuple[str, str], list[Route]] = {}
        for route in self.ROUTES:
            alike.setdefault((route.method, route.path), []).append(route)
        routes = [HttpRoute(path, self._door(those), methods=[method]) for (method, path), those in alike.items()]
        return Starlette(routes=[*self._control(), *routes], exception_handlers={404: self._no_such, 405: self._no_such})

    async def _no_such(self, _request: Request, _error: Exception) -> Response:
        return self.error(404, "not found", "not_found")

    def _door(self, routes: Sequence[Route]) -> Callable[[Request], Awaitable[Response]]:
        """To the routes of one address."""
        endpoints = {route.operation: self._endpoint(route) for route in routes}

        async def door(request: Request) -> Response:
            request.state.body = await request.body()  # a key may be in it: `key_of` cannot wait for it
            return await endpoints[self.chosen(request, routes).operation](request)

        return door

    def _endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        handler: Callable[[Call], Awaitable[Response | Mapping[str, Any]]] = getattr(self, route.operation)

        async def endpoint(request: Request) -> Response:
            self.addresses.append(str(request.url))
            caller = self._caller(route, request)
            key = self.keys.get(caller.fingerprint()) if caller else None
            if key is None and self.anyone:
                key = next(iter(self.live()), None)

            def record(status: int, outcome: str) -> None:
                self.log.append(Logged(route.operation, status, outcome, caller.fingerprint() if caller else ""))

            if not self._may(route, caller, key):
                answer = self.refused(route.group, key)
                record(answer.status_code, "rejected")
                return answer
            if route.group == "admin" and self._is_lacking(route):
                answer = self.denied()
                record(answer.status_code, "rejected")
                return answer
            if route.group == "key" and key is not None:
                key.uses.append(self.clock())
            fault = due(self.faults, route.operation, route.group, key.id if key else "")
            if fault is not None and not fault.commit and (failure := await self._suffer(request, fault, record)):
                return failure
            try:
                made = await handler(Call(request, *await self._parameters(request, route), key))
                answer = made if isinstance(made, Response) else JSONResponse(dict(made))
            except RefusedError as refused:
                answer = self.error(refused.status, refused.message, refused.code)
            if fault is not None and fault.commit and (failure := await self._suffer(request, fault, record)):
                return failure
            record(answer.status_code, "served" if answer.status_code < 400 else "failed")
            return answer

        return endpoint

    def _caller(self, route: Route, request: Request) -> KeyMaterial | None:
        if route.group == "open":
            return None
        try:
            return KeyMaterial(self.admin_of(request) if route.group == "admin" else self.key_of(request))
        except ValueError:
            return None

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        if route.group == "open":
            return True
        if route.group == "admin":
            return caller is not None and caller.fingerprint() == self.admin_fingerprint
        return self.anyone or (key is not None and key.accepted(self.clock()))

    def _is_lacking(self, route: Route) -> bool:
        return any(route.operation in operations and self.lacks(verb) for verb, operations in self.GIVES.items())

    async def _parameters(self, request: Request, route: Route) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        query = dict(request.query_params)
        body: Any = {}
        if raw := await request.body():
            try:
                body = dict(parse_qsl(raw.decode())) if _is_form(request) else json.loads(raw)
            except ValueError:
                raise RefusedError(400, "the body is no JSON", "invalid_request") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "the body is no object", "invalid_request")
        unknown = (query.keys() - set(route.query)) | (set() if route.body is None else body.keys() - set(route.body))
        if unknown:
            raise RefusedError(400, f"unknown parameter {sorted(unknown)[0]}", "invalid_request")
        return query, body

    async def _suffer(self, request: Request, fault: Fault, record: Callable[[int, str], None]) -> Response | None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.kind == "reset":
            record(0, "lost")  # before the caller can notice
            await reset_connection(request)
            return Response()
        answer = self._failure(fault)
        record(answer.status_code, "failed")
        return answer

    def _failure(self, fault: Fault) -> Response:
        if fault.kind == "html":
            return HTMLResponse("<html><body><h1>A page that is not the vendor's</h1></body></html>", fault.status)
        if fault.kind == "throttle":
            answer = self.error(429, "Too many requests", "rate_limit")
            if fault.retry_after is not None:
                answer.headers["retry-after"] = f"{fault.retry_after:g}"
            return answer
        return self.error(fault.status, "A simulated failure", fault.code or "")

    # Control --------------------------------------------------------------------------------------------------------

    def _control(self) -> list[HttpRoute]:
        table: list[tuple[str, str, Callable[[Any], Any]]] = [
            ("GET", "health", lambda _: {"ok": True}),
            ("GET", "keys", lambda _: [self._told(key) for key in self.keys.values()]),
            ("POST", "keys", self._add),
            ("POST", "age", self._age),
            ("POST", "behaviour", self._behave),
            ("GET", "faults", lambda _: [fault.model_dump() for fault in self.faults]),
            ("POST", "faults", lambda body: self.faults.append(Fault.model_validate(body))),
            ("DELETE", "faults", lambda _: self.faults.clear()),
            ("GET", "log", lambda _: [asdict(call) for call in self.log]),
        ]
        return [HttpRoute(f"/_sim/{path}", _controlled(act), methods=[method]) for method, path, act in table]

    def _add(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        key, material = self.add_key(body["name"], owner=body.get("owner", ""), text=body.get("value"), at_once=True)
        return {**self._told(key), "value": material.reveal()}

    def _age(self, body: Mapping[str, Any]) -> None:
        for key in self.keys.values():
            key.created_at -= body["seconds"]

    def _behave(self, body: Mapping[str, Any]) -> None:
        self.behaviour = Behaviour.model_validate({**self.behaviour.model_dump(), **body})

    def _told(self, key: Key) -> Mapping[str, Any]:
        told = {name: getattr(key, name) for name in ("id", "name", "owner", "fingerprint", "created_at", "deletions")}
        return {**told, "deleted": key.deleted, "disabled": key.disabled, "accepted": key.accepted(self.clock())}


def bearer_of(request: Request) -> str:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text if scheme.lower() == "bearer" else ""


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0] == "application/x-www-form-urlencoded"


def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was posted; none where the body is something else. For `key_of`, which cannot wait."""
    return dict(parse_qsl(request.state.body.decode())) if _is_form(request) else {}


def stamp(moment: float | None) -> str | None:
    """RFC 3339, as vendors print it."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def moment(text: str) -> float:
    """From RFC 3339. RefusedError 400."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        raise RefusedError(400, "not a time", "invalid_request") from None


def _controlled(act: Callable[[Any], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        return JSONResponse(act(json.loads(raw) if raw else {}))

    return endpoint
