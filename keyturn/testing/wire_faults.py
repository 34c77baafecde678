"""What may become of an exchange on the wire, chosen by the keeper of a gate."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from keyturn.testing.wire_messages import Answer

HUGE = 8 * 1024 * 1024
_NAMES = ("data", "auth", "id", "object", "versions", "VersionIdsToStages", "SecretString", "Tags", "ARN", "state")


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset; the server never hears of it."""


@dataclass(frozen=True, slots=True)
class Blackhole:
    """Nobody ever answers, and the server never hears of it. It ends when the client leaves, or the gate closes."""


@dataclass(frozen=True, slots=True)
class Slow:
    """It is delivered late, also when the client has given up by then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Half:
    """It is done, and then the connection is reset: committed, answer lost."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """It is done, and half of the answer arrives."""


@dataclass(frozen=True, slots=True)
class Instead:
    """Another answer than the server's. `done`: the server has done it all the same; else it never hears of it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    done: bool = False

    @property
    def answer(self) -> Answer:
        told = {"Content-Length": str(len(self.body)), **self.headers}
        return Answer(self.status, [(name.encode(), value.encode("latin-1")) for name, value in told.items()], self.body)


Fault = Reset | Blackhole | Slow | Half | Truncated | Instead


def refused(status: int, body: object, **headers: str) -> Instead:
    """A refusal in JSON, in the server's own words: an expired token, a rate limit (`Retry_After="1"`), a failure."""
    told = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Instead(status, told, json.dumps(body).encode())


class Hostile(StrEnum):
    """Bodies that no server of that kind sends with a 200."""

    HTML = "html"  # a login page of something in between
    WRONG_TYPES = "wrong types"  # JSON, and nothing in it is of the kind that is looked for
    DEEP = "deep"  # JSON that is nested deeper than a reader can go
    BINARY = "binary"  # no text in any encoding
    HUGE = "huge"  # megabytes of one JSON string
    EMPTY = "empty"


def hostile(kind: Hostile, *, done: bool = False) -> Instead:
    """An answer of that kind, instead of the server's."""
    html = kind is Hostile.HTML
    return Instead(200, {"Content-Type": "text/html" if html else "application/json"}, _body(kind), done)


def _body(kind: Hostile) -> bytes:
    match kind:
        case Hostile.HTML:
            return b"<html><body><form action='/login'>Please log in</form></body></html>"
        case Hostile.WRONG_TYPES:
            return json.dumps({name: [{"": None}] if number % 2 else number for number, name in enumerate(_NAMES)}).encode()
        case Hostile.DEEP:
            return b"[" * 200_000
        case Hostile.BINARY:
            return secrets.token_bytes(4096)
        case Hostile.HUGE:
            return b'{"data": "' + b"x" * HUGE + b'"}'
        case Hostile.EMPTY:
            return b""
