"""A program with a key ring as a member of a fleet of kind `process`: it can be rolled, and tells what it serves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from keyturn.delivery.control import control_app
from keyturn.delivery.keyring_engine import Engine
from keyturn.delivery.keyring_probe import Probe
from keyturn.delivery.listeners import control_socket, serving
from keyturn.delivery.states import Admission
from keyturn.errors import NotFoundError
from keyturn.references import resolver

if TYPE_CHECKING:
    from keyturn.delivery.keyring import KeyRing


class RingMember:
    """A ring as keyturn.delivery.control asks it. A roll reads the store; nothing is restarted, and no request ends."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @property
    def credentials(self) -> Collection[str]:
        return self._ring.credentials.values()

    @property
    def state(self) -> str:
        return "serving" if self._ring.running else "failed"

    async def ready(self) -> bool:
        return self._ring.running

    def status(self) -> dict[str, Any]:
        """`versions` has no key that is stale: it is not served."""
        stats = self._ring.stats()["keys"]
        errors = [f"{name}: {told['last_error']}" for name, told in stats.items() if told["last_error"]]
        return {
            "state": self.state,
            "versions": {
                self._ring.credentials[name]: {"id": told["version"], "fingerprint": told["fingerprint"]}
                for name, told in stats.items()
                if not told["stale"]
            },
            "leases": {
                self._ring.credentials[name]: {
                    "ends": told["ends"],
                    "refresh": told["refresh"],
                    "failure": told["last_error"],
                }
                for name, told in stats.items()
                if "ends" in told
            },
            "starts": 1,
            "restarts": False,
            "rolls": sum(told["swaps"] for told in stats.values()),
            "pid": os.getpid(),
            "shadowed": [],
            "last_error": "; ".join(errors),
        }

    async def roll(self, credential: str, fingerprint: str) -> Admission:
        """As Supervisor.roll, but for the answer: it comes when the new key is given out."""
        served = self.status()["versions"].get(credential)
        if served is not None and served["fingerprint"] == fingerprint:
            return Admission.SERVED
        for name, each in self._ring.credentials.items():
            if each == credential:
                await self._ring.expect(name, fingerprint)
                return Admission.BEGUN
        raise NotFoundError(
            "this member does not serve that credential", remedy="name its fleet in the credential's proxies"
        )


async def serve(ring: KeyRing, engine: Engine, address: str, token: str, probe: Probe | None) -> None:
    """Returns when it listens. MisconfiguredError: it cannot, or a reference leads nowhere."""
    resolve = resolver()
    routes = probe.routes(await resolve(probe.master_key)) if probe is not None else []
    app = control_app(RingMember(ring), await resolve(token), routes)
    with ExitStack() as opening:
        listener = opening.enter_context(control_socket(address, "the control address"))
        listens = asyncio.Event()
        kept = opening.pop_all()

    async def until_closed() -> None:
        with kept:
            async with serving(app, listener):
                listens.set()
                await asyncio.Event().wait()

    engine.in_child.append(listener.close)
    engine.beside(until_closed())
    await listens.wait()
