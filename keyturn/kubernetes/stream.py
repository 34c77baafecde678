"""An answer of a Kubernetes API server that goes on: the events of a watch, one a line, read by a thread that blocks.

After the page "Kubernetes API Concepts" ("Efficient detection of changes"). An event is `{"type": ..., "object": ...}`; of
an ERROR the object is a Status, and it is the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import urllib3

from keyturn.json_object import UnreadableError, json_object, mapping, text
from keyturn.kubernetes.answer import Answer

_LONGEST_LINE = 16 * 1024 * 1024  # bytes; an object has at most one and a half million
_QUIET = ("BOOKMARK",)  # it says how far the server is, and nothing about the object

Tell = Callable[[str, Mapping[str, Any]], bool]


class Stream:
    """One watch. `follow` is for a thread of its own, `stop` for any other."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: for how long it is followed at most, whatever the server does."""
        self._seconds = seconds
        self._stopped = False
        self._response: urllib3.BaseHTTPResponse | None = None

    def stop(self) -> None:
        """Let `follow` end: at once while it reads, else when the answer begins. May be repeated."""
        self._stopped = True
        if (response := self._response) is not None:
            with suppress(OSError, ValueError, RuntimeError):  # it is closed already
                response.shutdown()

    def follow(self, response: urllib3.BaseHTTPResponse, tell: Tell) -> Answer | bool:
        """Whether `tell` said yes, to the type and the object of an event; False: the watch was over before.

        An Answer: the server says by an ERROR why it ends. UnreadableError: what comes is no event. Raises as urllib3 does
        where the connection breaks, and what `tell` raises.
        """
        self._response = response
        for line in self._lines(response):
            event = json_object(line)
            kind, about = text(event.get("type")), mapping(event.get("object"))
            if kind == "ERROR":
                return _refusal(about)
            if kind not in _QUIET and tell(kind, about):
                return True
        return False

    def _lines(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        deadline, rest, any_line = time.monotonic() + self._seconds, bytearray(), False
        # A socket that was shut down still gives what had arrived, hence the look at `_stopped`.
        while not self._stopped and (left := deadline - time.monotonic()) > 0:
            _be_patient(response, left)
            chunk = response.read1(65536)
            if not chunk:
                break
            rest += chunk
            *lines, rest = rest.split(b"\n") if b"\n" in chunk else [rest]
            for line in lines:
                any_line = True
                yield bytes(line)
            if len(rest) > _LONGEST_LINE:
                raise UnreadableError
        if rest and not any_line and not self._stopped:
            yield bytes(rest)  # a login page, or whatever else is no watch; what is cut off after events is nothing


def _be_patient(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    """Until now the timeout is that of an answer's beginning. It stays where the server is to close the connection."""
    socket = getattr(response.connection, "sock", None)
    if socket is not None:
        socket.settimeout(seconds)


def _refusal(status: Mapping[str, Any]) -> Answer:
    code = status.get("code")
    if type(code) is not int or not 400 <= code < 600:
        raise UnreadableError
    return Answer(code, status)
