"""What any answer may do to a client of ours: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from keyturn.http_answers import no_cookies, pause, read_body
from tests.wire import Request, Wire


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000
        await asyncio.sleep(0)


async def stuck() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.Event().wait()


async def body_of(content: bytes | AsyncIterator[bytes], seconds: float = 60.0) -> bytes:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=content))
    async with (
        httpx.AsyncClient(transport=transport) as client,
        client.stream("GET", "http://x/") as answer,
    ):
        return await read_body(answer, 5000, seconds)


async def test_a_body_is_read_up_to_the_limit() -> None:
    assert await body_of(b"x" * 5000) == b"x" * 5000
    assert await body_of(b"x" * 5001) == b""
    assert await body_of(endless()) == b""


async def test_a_body_that_does_not_come_is_a_timeout_of_httpx() -> None:
    with pytest.raises(httpx.ReadTimeout) as raised:
        await body_of(stuck(), seconds=0.01)
    assert raised.value.request.url == "http://x/"


async def test_no_cookie_is_sent_back_and_one_that_is_not_ascii_breaks_nothing() -> None:
    """With httpx's own jar the second request fails, and every one after it."""
    sent: list[str] = []

    def answer(request: Request) -> bytes:
        sent.append(request.headers.lower())
        cookie = "set-cookie: a=é\xff; path=/\r\nset-cookie: plain=1".encode("latin-1")
        return b"HTTP/1.1 200 OK\r\n" + cookie + b"\r\ncontent-length: 0\r\n\r\n"

    with Wire(answer) as wire:
        async with httpx.AsyncClient(base_url=wire.url, cookies=no_cookies(), trust_env=False) as client:
            for _ in range(2):
                assert (await client.get("/")).status_code == 200
    assert len(sent) == 2
    assert not any("cookie:" in headers for headers in sent)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("1.5", 1.5), ("0", 0.0)])
def test_a_pause_is_a_number_of_seconds(header: str, seconds: float) -> None:
    assert pause(header) == seconds


@pytest.mark.parametrize(
    "header", [None, "", "-1", "²", "٣", "1e3", "inf", "nan", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_any_other_pause_is_none(header: str | None) -> None:
    assert pause(header) is None
