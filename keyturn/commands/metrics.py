"""keyturn metrics: look, and tell Prometheus; once, or for as long as it is scraped. It changes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn.assembly import Adapters, assemble
from keyturn.commands.exits import Exit, leave, reported
from keyturn.commands.options import duration
from keyturn.commands.prefect_runs import samples_of_runs
from keyturn.config import Config, load
from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.lifecycle import Asked, Reason
from keyturn.metrics import Sample, exposition, samples_of
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.standing import standing

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_AT_ONCE = 16
_LOOK_SECONDS = 120

Looked = Callable[[], Awaitable[bytes]]


def metrics(listen: str | None, every: str) -> None:
    """Print them, or with `listen` serve them: looked at on the interval `every`, whoever asks how often."""
    hold_vendor_loggers()
    with reported():
        pause = duration("--every", every).total_seconds()
        load()
        if listen is None:
            sys.stdout.write(asyncio.run(look()).decode())
            leave(Exit.DONE)
        host, port = _address(listen)
        application = served(look, max(pause, 1.0))
    uvicorn.run(application, host=host, port=port, log_level="warning", access_log=False)
    leave(Exit.DONE)


async def look() -> bytes:
    """At every credential, and at Prefect. Its configuration is read anew. A credential that fails is not `keyturn_seen`."""
    config = load()
    adapters, places = Adapters(config), asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> list[Sample]:
        async with places:
            return await _samples(config, adapters, name)

    try:
        runs, *each = await asyncio.gather(samples_of_runs(), *(one(name) for name in config.credentials))
    finally:
        await adapters.aclose()
    return exposition([*runs, *(sample for samples in each for sample in samples)], datetime.now(UTC))


async def _samples(config: Config, adapters: Adapters, name: str) -> list[Sample]:
    try:
        async with asyncio.timeout(_LOOK_SECONDS), assemble(config, name, adapters=adapters) as c:
            asked = Asked(c.now(), Reason.SCHEDULED, c.settings.overlap, c.settings.max_age)
            return list(samples_of(await standing(c, asked), c.settings))
    except (KeyturnError, TimeoutError):
        return [Sample("keyturn_seen", 0.0, {"credential": name})]


def served(look: Looked, pause: float) -> Starlette:
    """`/metrics` gives what was looked at last, at once; 503 until there is something. A look that fails leaves the one
    before: `keyturn_look_timestamp_seconds` says how old it is."""
    last: list[bytes] = []

    async def again_and_again() -> None:
        while True:
            try:
                last[:] = [await look()]
            except Exception as error:  # keyturn.yaml may be changed at any time; a scrape still has to be answered
                sys.stderr.write(f"the look failed ({type(error).__name__}): `keyturn doctor` says more\n")
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def lifespan(_: Starlette):  # type: ignore[no-untyped-def]
        looking = asyncio.create_task(again_and_again())
        try:
            yield
        finally:
            looking.cancel()

    async def tell(_: Request) -> Response:
        return Response(last[0], media_type=_TYPE) if last else Response("not looked yet\n", status_code=503)

    return Starlette(routes=[Route("/metrics", tell)], lifespan=lifespan)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise MisconfiguredError("--listen must be HOST:PORT, such as 127.0.0.1:9464")
    return host.strip("[]"), int(port)
