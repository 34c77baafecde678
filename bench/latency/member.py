"""A member as keyturn meets it: a proxy that loads its keys when it starts, and its supervisor. A roll takes so long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.latency.floor import CANDIDATE, CONTROL, Call
from bench.latency.outside import Calls
from keyturn.material import KeyMaterial
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.stand_in import StandIn

_GARBAGE = "sk-keyturn-control-"


class Member:
    """`current`: the key of each credential as the store has it now, which nobody waits for. `answer`, `roll`: seconds."""

    def __init__(
        self,
        name: str,
        config: dict[str, Any],
        current: Callable[[], Mapping[str, str]],
        calls: Calls,
        answer: float,
        roll: float,
    ) -> None:
        self.name, self._current, self._calls, self._answer, self._roll_seconds = name, current, calls, answer, roll
        self._proxy, self._state = StandIn(config), "serving"
        self._keys = dict(current())
        self._load()
        self._intended: dict[str, str] = self._keys
        self._under_way: asyncio.Task[None] | None = None
        self.url, self.control = LoopbackServer(self._answering()), LoopbackServer(self._supervisor())

    def _answering(self) -> ASGIApp:
        proxy = self._proxy.app()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            if request.method == "POST":
                await (await self._chat(request))(scope, receive, send)
            else:
                await proxy(scope, receive, send)

        return app

    async def _chat(self, request: Request) -> Response:
        begin, body = time.time(), await request.json()
        shown = body.get("api_key")  # now: the proxy takes it out
        answer = await self._proxy.chat(request)
        await asyncio.sleep(max(0.0, self._answer - (time.time() - begin)))
        what = "canary" if shown is None else CONTROL if shown.startswith(_GARBAGE) else CANDIDATE
        concerns = frozenset({str(body["model"]).removesuffix("-1")})
        self._calls.add(Call(self.name, what, begin, time.time(), concerns=concerns))
        return answer

    def _supervisor(self) -> Starlette:
        return Starlette(routes=[Route("/v1/status", self._status), Route("/v1/roll", self._roll, methods=["POST"])])

    async def _status(self, request: Request) -> Response:
        served = self._keys if self._state == "serving" else {}
        versions = {name: {"id": "loaded", "fingerprint": _fingerprint(text)} for name, text in served.items()}
        return JSONResponse({"state": self._state, "versions": versions, "shadowed": [], "last_error": ""})

    async def _roll(self, request: Request) -> Response:
        """As `keyturn exec` answers: what is under way with this key already is no second roll, any other is not begun."""
        begin, wanted = time.time(), await request.json()
        credential, fingerprint = wanted["credential"], wanted["fingerprint"]
        if _fingerprint(self._intended[credential]) == fingerprint:
            serving = self._state == "serving"
            return JSONResponse({"state": self._state, **({"rolled": False} if serving else {})}, 200 if serving else 202)
        if self._state != "serving":
            return JSONResponse({"state": self._state, "error": "not now", "busy": True}, 409)
        self._state, keys = "draining", dict(await asyncio.to_thread(self._current))
        if _fingerprint(keys[credential]) != fingerprint:
            self._state = "serving"
            return JSONResponse({"state": self._state, "error": "CURRENT is another value"}, 409)
        self._intended, self._under_way = keys, asyncio.create_task(self._restart(begin, keys))
        return JSONResponse({"state": self._state}, 202)

    async def _restart(self, begin: float, keys: dict[str, str]) -> None:
        await asyncio.sleep(max(0.0, self._roll_seconds - (time.time() - begin)))
        turned = frozenset(name for name, text in keys.items() if self._keys[name] != text)
        self._keys = keys
        self._load()
        self._state = "serving"
        self._calls.add(Call(self.name, "roll", begin, time.time(), acts=True, concerns=turned))

    def _load(self) -> None:
        each = self._proxy.deployments
        self._proxy.deployments = [replace(one, api_key=self._keys[one.id.removesuffix("-1")]) for one in each]


def _fingerprint(text: str) -> str:
    return KeyMaterial(text).fingerprint()
