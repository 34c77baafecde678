"""A simulator of OpenAI's Admin API and inference, as a real program on loopback, with faults on request.

    python -m keyturn.testing.openai_simulator --port N
        [--admin-key-env NAME]     variable that holds the admin key (default OPENAI_ADMIN_KEY)
        [--project ID]             a project that exists from the start (default proj_simulated)
        [--service-account ID]     a service account in it, named `litellm`
        [--key-env NAME]           variable that holds an existing, hand-made key; it belongs to that account, else to a user
        [--accept-delay S] [--refuse-delay S] [--usage-lag S] [--stream-chunks N] [--stream-gap S]

It serves, under /v1, with the bodies of the `openai` SDK 3.54.0 (an unknown parameter is refused with 400):

    operation         group
    get_project       admin      GET    /organization/projects/{project}
    list_keys         admin      GET    /organization/projects/{project}/api_keys
    get_key           admin      GET    /organization/projects/{project}/api_keys/{key}
    delete_key        admin      DELETE /organization/projects/{project}/api_keys/{key}
    list_accounts     admin      GET    /organization/projects/{project}/service_accounts
    create_account    admin      POST   /organization/projects/{project}/service_accounts
    get_account       admin      GET    /organization/projects/{project}/service_accounts/{account}
    update_account    admin      POST   /organization/projects/{project}/service_accounts/{account}
    delete_account    admin      DELETE /organization/projects/{project}/service_accounts/{account}
    create_key        admin      POST   /organization/projects/{project}/service_accounts/{account}/api_keys
    usage             admin      GET    /organization/usage/completions
    models            inference  GET    /models
    chat              inference  POST   /chat/completions      plain and streaming; the text is `served-by FINGERPRINT`

Control, without authentication, since only loopback can reach it (JSON in and out):

    GET  /_sim/health
    POST /_sim/projects          {"id"?, "name"?, "archived"?}
    POST /_sim/service_accounts  {"project", "name", "id"?, "role"?: member|owner|none}
    POST /_sim/keys              {"project", "name", "account"?, "value"?, "expires_in_seconds"?} -> {..., "value"}: an
                                 existing key, accepted at once; without `value` its text is generated
    GET  /_sim/keys              every key that ever was: id, name, account, fingerprint, deletions (how often it was
                                 deleted), accepted, created_at, ...; ?project=P and ?fingerprint=F (repeated) choose
    POST /_sim/age               {"project", "seconds"}: its keys were created so much earlier
    GET  /_sim/behaviour         POST changes the named fields: see openai_organization.Behaviour
    GET  /_sim/faults            POST adds one: see faults.Fault; DELETE clears all
    GET  /_sim/log               {"calls": [...], "keys": {fingerprint: {served, rejected, failed, lost, first_served_at,
                                 last_served_at, ...}}}; ?operation=NAME and ?fingerprint=F choose
    POST /_sim/reset             forgets calls and faults and restores the first behaviour; keys stay

Faults: `lose_answer` (the effect happens, then the connection is reset), `reset`, `slow`, `throttle`, `quota`, `status`,
`html`. The log's outcomes are served, rejected (the key was refused), failed and lost (reset). Every key that is accepted
counts as used, whatever the request was for. Nothing here logs a key or a request.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.material import KeyMaterial
from keyturn.testing.faults import Fault
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_endpoints import OPERATIONS, Endpoints
from keyturn.testing.openai_organization import Behaviour, Key, Organization


class _Seed(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _ProjectSeed(_Seed):
    id: str | None = None
    name: str = "simulated"
    archived: bool = False


class _AccountSeed(_Seed):
    project: str
    name: str
    id: str | None = None
    role: Literal["member", "owner", "none"] = "member"


class _KeySeed(_Seed):
    project: str
    name: str
    account: str = ""
    value: str | None = None
    expires_in_seconds: int | None = None


class _Age(_Seed):
    project: str
    seconds: float


class _Control:
    """The endpoints under /_sim."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization

    def routes(self) -> list[Route]:
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "health", self.health),
            ("POST", "projects", self.add_project),
            ("POST", "service_accounts", self.add_account),
            ("POST", "keys", self.add_key),
            ("GET", "keys", self.keys),
            ("POST", "age", self.age),
            ("GET", "behaviour", self.behaviour),
            ("POST", "behaviour", self.change_behaviour),
            ("GET", "faults", self.faults),
            ("POST", "faults", self.add_fault),
            ("DELETE", "faults", self.clear_faults),
            ("GET", "log", self.log),
            ("POST", "reset", self.reset),
        ]
        return [Route(f"/_sim/{path}", self._endpoint(handler), methods=[method]) for method, path, handler in table]

    @staticmethod
    def _endpoint(handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return JSONResponse(await handler(request))
            except ValidationError as error:
                return JSONResponse(error.errors(include_url=False, include_context=False, include_input=False), 400)
            except (ValueError, TypeError):
                return JSONResponse("not what is wanted here", 400)

        return endpoint

    async def health(self, _request: Request) -> Any:
        return {"ok": True}

    async def add_project(self, request: Request) -> Any:
        seed = _ProjectSeed.model_validate(await request.json())
        return self.organization.add_project(seed.id, seed.name, archived=seed.archived).shown()

    async def add_account(self, request: Request) -> Any:
        seed = _AccountSeed.model_validate(await request.json())
        return self.organization.add_account(seed.project, seed.name, role=seed.role, id=seed.id).shown()

    async def add_key(self, request: Request) -> Any:
        seed = _KeySeed.model_validate(await request.json())
        key, material = self.organization.add_key(
            seed.project,
            seed.name,
            account=seed.account,
            expires_in=seed.expires_in_seconds,
            material=KeyMaterial(seed.value) if seed.value else None,
            accept_delay=0,
        )
        return {**self._key(key), "value": material.reveal()}

    async def keys(self, request: Request) -> Any:
        project, wanted = request.query_params.get("project"), set(request.query_params.getlist("fingerprint"))
        return [
            self._key(key)
            for key in self.organization.keys.values()
            if project in (None, key.project) and (not wanted or key.fingerprint in wanted)
        ]

    async def age(self, request: Request) -> Any:
        seed = _Age.model_validate(await request.json())
        for key in self.organization.keys.values():
            if key.project == seed.project:
                key.created_at -= seed.seconds
        return {"ok": True}

    def _key(self, key: Key) -> dict[str, Any]:
        return {
            "id": key.id,
            "name": key.name,
            "project": key.project,
            "account": key.account,
            "fingerprint": key.fingerprint,
            "redacted_value": key.redacted,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "deleted": key.deleted,
            "deletions": key.deletions,
            "accepted": key.accepted(self.organization.clock()),
            "last_used_at": key.uses[-1] if key.uses else None,
        }

    async def behaviour(self, _request: Request) -> Any:
        return self.organization.behaviour.model_dump()

    async def change_behaviour(self, request: Request) -> Any:
        changed = {**self.organization.behaviour.model_dump(), **await request.json()}
        self.organization.behaviour = Behaviour.model_validate(changed)
        return changed

    async def faults(self, _request: Request) -> Any:
        return [fault.model_dump() for fault in self.organization.faults]

    async def add_fault(self, request: Request) -> Any:
        fault = Fault.model_validate(await request.json())
        if fault.operation not in {*OPERATIONS, "admin", "inference", "*"}:
            raise ValueError("no such operation")
        self.organization.faults.append(fault)
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Any:
        self.organization.faults.clear()
        return await self.faults(request)

    async def log(self, request: Request) -> Any:
        operation, fingerprint = request.query_params.get("operation"), request.query_params.get("fingerprint")
        calls = [
            call
            for call in list(self.organization.calls)
            if operation in (None, call.operation) and fingerprint in (None, call.fingerprint)
        ]
        keys: dict[str, dict[str, Any]] = {}
        for call in calls:
            tally = keys.setdefault(call.fingerprint, {"served": 0, "rejected": 0, "failed": 0, "lost": 0})
            tally[call.outcome] += 1
            tally.setdefault(f"first_{call.outcome}_at", call.at)
            tally[f"last_{call.outcome}_at"] = call.at
        return {"calls": [asdict(call) for call in calls], "keys": keys}

    async def reset(self, _request: Request) -> Any:
        self.organization.reset()
        return {"ok": True}


def simulator(organization: Organization) -> Starlette:
    """The ASGI application. Faults that reset a connection need a LoopbackServer to serve it."""
    return Starlette(routes=[*Endpoints(organization).routes(), *_Control(organization).routes()])


class OpenAISimulator(LoopbackServer):
    """The simulator on loopback, from a thread of this process. A context manager; `base_url` is the adapter's setting."""

    def __init__(self, organization: Organization, *, port: int = 0) -> None:
        super().__init__(simulator(organization), port=port)
        self.organization = organization
        self.base_url = f"{self.url}/v1"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: see the module's docstring. Exit code 2 when a variable that should hold a key does not."""
    parser = argparse.ArgumentParser(prog="python -m keyturn.testing.openai_simulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--admin-key-env", default="OPENAI_ADMIN_KEY")
    parser.add_argument("--project", default="proj_simulated")
    parser.add_argument("--service-account")
    parser.add_argument("--key-env")
    for name in ("accept_delay", "refuse_delay", "usage_lag", "stream_gap"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=Behaviour.model_fields[name].default)
    parser.add_argument("--stream-chunks", type=int, default=Behaviour.model_fields["stream_chunks"].default)
    options = parser.parse_args(arguments)
    try:
        admin_key = _from_environment(options.admin_key_env)
        existing = _from_environment(options.key_env) if options.key_env else None
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    behaviour = Behaviour(**{name: value for name, value in vars(options).items() if name in Behaviour.model_fields})
    organization = Organization(admin_key, behaviour=behaviour)
    organization.add_project(options.project)
    if options.service_account:
        organization.add_account(options.project, "litellm", id=options.service_account)
    if existing is not None:
        organization.add_key(
            options.project, "by hand", account=options.service_account or "", material=existing, accept_delay=0
        )
    OpenAISimulator(organization, port=options.port).run()
    return 0


def _from_environment(name: str) -> KeyMaterial:
    try:
        return KeyMaterial(os.environ.get(name, ""))
    except ValueError as error:
        raise ValueError(f"the variable {name} holds no usable key: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
