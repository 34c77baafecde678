"""A program's own word that it is ready, whatever else it says."""

from __future__ import annotations

import pytest

from keyturn.delivery.readiness import Readiness
from tests.wire import Wire

COOKIE = "set-cookie: a=\u00e9\u00ff; path=/".encode("latin-1")


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n" + COOKIE + b"\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9999\r\n\r\nx", True),
        (b"HTTP/1.1 503 No\r\n\r\n", False),
        (b"HTTP/1.1 307 No\r\nlocation: /elsewhere\r\n\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False),
        (b"nonsense", False),
        (b"", False),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_200_is_ready_each_time_it_is_asked(answer: bytes, ready: bool) -> None:
    """A cookie that is not ASCII was kept, and made the second question fail with an error that is not ours."""
    with Wire(lambda _: answer) as wire:
        readiness = Readiness(f"{wire.url}/health")
        assert [await readiness.answers() for _ in range(2)] == [ready, ready]
        await readiness.aclose()
