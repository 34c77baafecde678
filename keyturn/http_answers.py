"""What every HTTP client of ours makes of an answer: no cookie, no body without end, no pause that is not a number."""

from __future__ import annotations

import asyncio
import re
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


def no_cookies() -> CookieJar:
    """A jar that stays empty. No API of ours needs cookies; a kept one that is not ASCII fails every later request."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


async def read_body(answer: httpx.Response, most: int, seconds: float) -> bytes:
    """The body of a streamed answer; empty where it has more than `most` bytes.

    httpx.ReadTimeout when it is not there after `seconds`: httpx's own timeout begins anew with each byte.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > most:
                    return b""
    except TimeoutError:
        raise httpx.ReadTimeout("", request=answer.request) from None
    return bytes(body)


def pause(retry_after: str | None) -> float | None:
    """The seconds in a Retry-After; None for anything else (its other form is a date)."""
    return float(retry_after) if retry_after is not None and _SECONDS.fullmatch(retry_after) else None
