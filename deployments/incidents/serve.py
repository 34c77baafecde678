"""The incident service as a program: `keyturn incidents serve`."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import ssl
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from prefect.settings import get_current_settings
from starlette.types import ASGIApp

from deployments.incidents.app import incident_app
from deployments.incidents.desk import Desk
from deployments.incidents.engine import Engine
from deployments.incidents.entrance import Entrance, Secrets
from deployments.incidents.github_api import asking_github
from deployments.incidents.runs import Runs
from keyturn.assembly import Adapters
from keyturn.config import Config, load
from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.incident_settings import IncidentSettings
from keyturn.incidents.intake import Intake
from keyturn.quiet import hold_vendor_loggers

_GRACE = 20.0  # seconds that runs have to end in, when the service is stopped
_CONNECTIONS = 64

log = logging.getLogger("keyturn.incidents")


def main() -> None:
    """Listen until SIGTERM. MisconfiguredError where keyturn.yaml has no `incidents`, or no caller's secret can be read."""
    config = load()
    if config.incidents is None:
        raise MisconfiguredError("keyturn.yaml has no section incidents", remedy="see docs/incident-service.md")
    _say_it_on_the_terminal()
    hold_vendor_loggers()
    with _instance() as instance:
        asyncio.run(_serve(config, config.incidents, instance))


async def _serve(config: Config, settings: IncidentSettings, instance: str) -> None:
    adapters = Adapters(config)
    await _secrets_are_there(settings, adapters)
    intake = Intake(config, adapters, settings.answer_within.total_seconds())
    from flows.respond import respond  # not before keyturn.yaml is known to be good: its names are in the form

    engine = Engine(respond)
    runs = Runs(respond, engine, settings.repeat_window, instance)
    desk = Desk(config, settings, intake, runs.start, runs.tell, asking_github(adapters.resolve))
    server = _Server(_uvicorn(incident_app(desk, Entrance(settings, adapters.resolve)), settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    picking_up = asyncio.create_task(_pick_up(runs))
    try:
        log.info("listening at %s", settings.listen)
        await server.serve()
    finally:
        picking_up.cancel()
        await asyncio.to_thread(engine.close, _GRACE)
        await adapters.aclose()


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn's own way ends the process before the runs could."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


def _uvicorn(app: ASGIApp, settings: IncidentSettings) -> uvicorn.Config:
    """No line of a request goes into a log: neither uvicorn's access log nor what it says of faults has one."""
    tls = settings.tls
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=str(tls.clients) if tls and tls.clients else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
    )


async def _secrets_are_there(settings: IncidentSettings, adapters: Adapters) -> None:
    secrets = Secrets(adapters.resolve)
    references = [caller.token or caller.hmac or "" for caller in settings.callers.values()]
    references += [source.secret or source.token or "" for source in settings.sources.values()]
    for reference in references:
        if await secrets.get(reference) is None:
            raise MisconfiguredError(f"incidents: {reference} gives no secret that is long enough")


async def _pick_up(runs: Runs) -> None:
    """Until Prefect answers once: what was left is not to be left for want of a server that starts later."""
    while True:
        try:
            for run in await runs.pick_up():
                log.info("going on with run %s of %s", run.id, ", ".join(run.credentials))
            return
        except (KeyturnError, TimeoutError) as error:
            log.warning("runs that were left are not looked for yet: %s", error)
            await asyncio.sleep(5)


@contextmanager
def _instance() -> Iterator[str]:
    """This service's name, kept beside Prefect's own files. One at a time has it."""
    path = Path(get_current_settings().home) / "keyturn" / "incident-service.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MisconfiguredError(
                "another incident service runs here already", remedy="stop it, or give this one a PREFECT_HOME of its own"
            ) from None
        name = file.read(64).strip()
        if not name:
            name = uuid.uuid4().hex[:12]
            file.write(name)
            file.flush()
        yield name


def _say_it_on_the_terminal() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
