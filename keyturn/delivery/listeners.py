"""Where the supervisor listens: control on loopback or a unix socket alone, health wherever the balancer needs it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from keyturn.errors import MisconfiguredError

_TCP = re.compile(r"(?:http://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})/?")


@contextmanager
def control_socket(address: str, option: str = "--control") -> Iterator[socket.socket]:
    """Listen on `http://127.0.0.1:PORT` or `unix:/PATH` (mode 0600); the file is removed at the end.

    MisconfiguredError for any other address: the token and the power to restart are not for a network.
    """
    if address.startswith("unix:"):
        with _unix(Path(address.removeprefix("unix:"))) as listener:
            yield listener
        return
    host, port = _host_and_port(address, option)
    if not _is_loopback(host):
        raise MisconfiguredError(
            f"{option} must be a loopback address or unix:/PATH", remedy="give balancers on other hosts --health HOST:PORT"
        )
    with _tcp(host, port) as listener:
        yield listener


@contextmanager
def health_socket(address: str) -> Iterator[socket.socket]:
    """Listen on `HOST:PORT`, any address of this machine."""
    with _tcp(*_host_and_port(address, "--health")) as listener:
        yield listener


@asynccontextmanager
async def serving(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Serve the application on a listening socket, as long as the block lasts."""
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  # uvicorn tells by a flag alone
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """Leaves the signals to the supervisor: on SIGTERM it goes on answering 'not ready' until the program has ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _host_and_port(address: str, option: str) -> tuple[str, int]:
    match = _TCP.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise MisconfiguredError(f"{option} is no address that can be listened on", remedy="give HOST:PORT")
    return match["host"].strip("[]"), int(match["port"])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _tcp(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise MisconfiguredError(
            f"cannot listen on {host}:{port}: {error.strerror}", remedy="choose a free port of this machine"
        ) from None
    with listener:
        yield listener


@contextmanager
def _unix(path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        _remove_stale(path)
        before = os.umask(0o177)  # for the moment between bind and chmod, in which anybody could connect
        try:
            listener.bind(str(path))
            listener.listen()
        except OSError as error:
            raise MisconfiguredError(
                f"cannot listen on {path}: {error.strerror}", remedy="choose a path in a folder that is yours alone"
            ) from None
        finally:
            os.umask(before)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """The file of a supervisor that was killed. One that still answers is left alone, and binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
