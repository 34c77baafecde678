"""An account with a vendor's simulator behind it: one for each world, on a port of its own, from a thread of the driver."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from keyturn.material import KeyMaterial
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.vendors.service import Key, Simulator, bearer_of
from tests.chaos.outside import Outside
from tests.chaos.vendors.account import Account, Known, Made
from tests.chaos.vendors.answers import served

if TYPE_CHECKING:
    from tests.chaos.world import World

_INFERENCE = "/inference/v1"
ENDING = 4  # characters of a key that a console shows


class SimulatedAccount(Account):
    """A subclass says SIMULATOR, `settings` and `judge`. `ADMIN`: the variable of a worker that holds what logs in."""

    SIMULATOR: ClassVar[type[Simulator]]
    ADMIN = "CHAOS_VENDOR_ADMIN"

    def __init__(self, outside: Outside, world: str) -> None:
        self._admin = KeyMaterial(secrets.token_hex(20))
        self.vendor = self.SIMULATOR(self._admin, time.time)
        self.vendor.behaviour.key_literal = outside.literal
        self._server = LoopbackServer(_with_inference(self.vendor))
        self._serves = False

    @property
    def port(self) -> int:
        return int(self._server.url.rpartition(":")[2])

    @property
    def inference(self) -> str:
        return f"{self._server.url}{_INFERENCE}"

    @property
    def environ(self) -> Mapping[str, str]:
        return {self.ADMIN: self._admin.reveal()}

    async def start(self, world: World) -> None:
        self._server.__enter__()
        self._serves = True

    def stop(self) -> None:
        if self._serves:
            self._server.__exit__(None, None, None)

    async def new_key(self, name: str) -> Made:
        key, material = self.vendor.add_key(name, text=self.new_text(), at_once=True)
        return Made(key.id, material.reveal())

    def new_text(self) -> str:
        """Of a key that a person makes."""
        return self.vendor.text(self.vendor.behaviour.key_literal)

    def _all(self) -> Sequence[Key]:
        return list(self.vendor.keys.values())  # the simulator's thread may add one meanwhile

    async def keys(self) -> Sequence[Known]:
        now = self.vendor.clock()
        return [
            Known(key.id, key.name, key.fingerprint, key.accepted(now), key.deletions, key.hint[-ENDING:])
            for key in self._all()
        ]

    async def delete(self, key: Known) -> None:
        self.vendor.delete(self.vendor.keys[key.fingerprint])

    async def grow_old(self, seconds: float) -> None:
        """As the vendor's API tells it."""
        for key in self._all():
            key.created_at -= seconds


def _with_inference(vendor: Simulator) -> ASGIApp:
    """The simulator, and beside it what proxies call with a key."""

    async def chat(request: Request) -> Response:
        text = bearer_of(request)
        key = vendor.keys.get(KeyMaterial(text).fingerprint()) if text else None
        if key is None or not key.accepted(vendor.clock()):
            return served(None)
        key.uses.append(vendor.clock())
        return served(key.fingerprint)

    api, inference = vendor.app(), Starlette(routes=[Route(f"{_INFERENCE}/chat/completions", chat, methods=["POST"])])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (inference if scope.get("path", "").startswith(_INFERENCE) else api)(scope, receive, send)

    return app
