"""A server on loopback that answers with any bytes at all, so that an adapter is tried with all that its library does."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    method: str
    target: str  # the path, with the query
    headers: str
    body: bytes


class Wire:
    """A context manager. `answer` makes the bytes of an answer; after each the connection is closed."""

    def __init__(self, answer: Callable[[Request], bytes]) -> None:
        self.answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes up accept
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(5)
                    request = _read(connection)
                    if request is not None:
                        connection.sendall(self.answer(request))
                except OSError:
                    continue  # the other side has gone


def _read(connection: socket.socket) -> Request | None:
    """A whole request; None where the other side sends none. What is left unread would reset the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    while found and len(body) < int(found[1]):
        body += connection.recv(65536)
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ", 2)
    return Request(method, target, head.decode("latin-1"), body)


class Streams:
    """As Wire, for answers that go on: each connection has a thread, and is sent part after part.

    Where a part is HOLD nothing comes any more, until the other side has gone: `gone` counts those that went.
    """

    HOLD = b""

    def __init__(self, answer: Callable[[Request], Iterable[bytes]]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.gone = threading.Semaphore(0)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="streams", daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each in (self._socket, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), name="streams", daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = _read(connection)
            if request is None:
                return
            self.requests.append(request)
            try:
                held = self._send(connection, self.answer(request))
            except OSError:
                self.gone.release()  # it went before all of it was sent
                raise
            if held:
                self.gone.release()

    def _send(self, connection: socket.socket, parts: Iterable[bytes]) -> bool:
        """Whether something was held, and the other side has gone."""
        for part in parts:
            if part == self.HOLD:
                while connection.recv(65536):
                    pass
                return True
            connection.sendall(part)
        return False
