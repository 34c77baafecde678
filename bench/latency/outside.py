"""A provider and a store on loopback that take as long as they are told, and write down each call."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.latency.floor import Call
from keyturn.material import KeyMaterial
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import simulator

_LABEL = re.compile(r"keyturn-(.+)-[0-9a-f]{6}-[0-9a-f]{12}")
BY_HAND = " by hand"
OF_A_MEMBER = "bench-member"
_STORE_ACTS = ("Put", "Update", "Tag", "Untag", "Create", "Delete")


class Calls:
    """What was called, by whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Call] = []

    def add(self, call: Call) -> None:
        with self._lock:
            self._all.append(call)

    def all(self) -> list[Call]:
        with self._lock:
            return sorted(self._all, key=lambda call: call.begin)


def provider(organization: Organization, calls: Calls, seconds: float) -> ASGIApp:
    """The simulator, each of whose calls takes so long; its control does not."""
    app = simulator(organization)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sim/"):
            await app(scope, receive, send)
            return
        begin, request = time.time(), Request(scope, receive)
        body = await request.body()
        concerns = _credential(organization, request, body)
        await asyncio.sleep(seconds)

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        await app(scope, again, send)
        acts = request.method in ("POST", "DELETE")
        what = f"{request.method} {request.url.path.rsplit('/', 2)[-1 if request.method == 'POST' else -2]}"
        calls.add(Call("provider", what, begin, time.time(), acts, concerns))

    return slow


def _credential(organization: Organization, request: Request, body: bytes) -> frozenset[str]:
    """Whose key it is about: in a body's name, in the path, or in the header. Empty for a list."""
    text = request.headers.get("authorization", "").removeprefix("Bearer ")
    names = [str(json.loads(body).get("name", ""))] if body else []
    names += [key.name for key in list(organization.keys.values()) if request.url.path.endswith(f"/{key.id}")]
    if not names and text:
        key = organization.keys.get(KeyMaterial(text).fingerprint())
        names = [key.name] if key is not None else []
    return frozenset(credential for name in names if (credential := credential_of(name)))


def credential_of(name: str) -> str:
    """Of a key, by its name at the provider; "" for any other."""
    found = _LABEL.fullmatch(name)
    return found[1] if found else name.removesuffix(BY_HAND) if name.endswith(BY_HAND) else ""


class SlowAWS(AWSDouble):
    """Each call takes so long, unless the caller's user agent has OF_A_MEMBER in it: what members read is part of a roll."""

    def __init__(self, calls: Calls, seconds: float) -> None:
        super().__init__()
        self._noted, self._seconds, self._here = calls, seconds, threading.local()
        self.before = self._wait
        self.secrets: dict[str, str] = {}  # a secret's name -> its credential

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._here.call, self._here.free = None, OF_A_MEMBER in environ.get("HTTP_USER_AGENT", "")
        answer = super().__call__(environ, start_response)
        if (called := self._here.call) is not None:
            operation, concerns, begin = called
            acts = operation.startswith(_STORE_ACTS)
            self._noted.add(Call("store", operation, begin, time.time(), acts, concerns))
        return answer

    def _wait(self, operation: str, body: dict[str, Any]) -> None:
        name = str(body.get("SecretId", ""))
        if name not in self.secrets or self._here.free:
            return
        self._here.call = operation, frozenset({self.secrets[name]}), time.time()
        time.sleep(self._seconds)
