"""ASGI applications served on loopback from a thread of this process, whose connections may be reset on purpose."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

# By the addresses of both ends: an application is told nothing else about the connection that it answers on.
_TRANSPORTS: dict[object, asyncio.Transport] = {}


class _Protocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _TRANSPORTS[self.client, self.server] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _TRANSPORTS.pop((self.client, self.server), None)
        super().connection_lost(exc)


async def reset_connection(request: Request) -> None:
    """Drop the connection of a request without an answer. ConnectionResetError where no LoopbackServer serves it."""
    transport = _TRANSPORTS.get((request.scope.get("client"), request.scope.get("server")))
    if transport is None:
        raise ConnectionResetError("there is no connection to reset")
    transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass


class LoopbackServer:
    """uvicorn on 127.0.0.1. A context manager: inside it the application answers at `url`. It logs no requests.

    `certificate`: files of a certificate and of its key, to serve TLS with.
    """

    def __init__(self, app: ASGIApp, *, port: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        # The protocol is named because asyncio sets TCP_NODELAY only then; without, every answer waits 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate[0] if certificate else None,
            ssl_keyfile=certificate[1] if certificate else None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.run, name="loopback-server", daemon=True)

    def run(self) -> None:
        """Serve in this thread, until a signal or `__exit__` ends it."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(10)
