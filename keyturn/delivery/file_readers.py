"""Whether a proxy reads key files at each request. One that does not sends their path as the key: every call is refused.

LiteLLM tells its version to whoever has its master key, at /health/readiness/details, and in no answer to anybody else but
that to a chat completion (its header x-litellm-version). Measured (tests/compat): 1.109.1 reads anew for each request;
1.103.10, 1.106.2 and 1.108.7 send the text `oidc/file/...`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx

from keyturn.errors import MisconfiguredError
from keyturn.http_answers import no_cookies, read_body
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial

FIRST_VERSION = (1, 109, 1)

_SECONDS, _LARGEST = 30.0, 1024 * 1024
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_REMEDY = "run LiteLLM 1.109.1 or later, or leave out --deliver file; --any-version does not look at it"


async def require(readiness_url: str, master_key: Callable[[], Awaitable[KeyMaterial]]) -> None:
    """Return when what answers there reads files. MisconfiguredError: its version does not, or it does not tell one.

    The canary and the proof of a roll still decide whether it really does.
    """
    version = await _version(f"{readiness_url}/details", (await master_key()).reveal())
    if version is None:
        raise MisconfiguredError("the program does not tell its version of LiteLLM", remedy=f"check master_key; {_REMEDY}")
    if version < FIRST_VERSION:
        raise MisconfiguredError(
            f"the program is LiteLLM {'.'.join(map(str, version))}, which would send the path of a key's file as the key",
            remedy=_REMEDY,
        )


async def _version(url: str, master_key: str) -> tuple[int, ...] | None:
    body = b""
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=_SECONDS, cookies=no_cookies()) as client,
            client.stream("GET", url, headers={b"Authorization": f"Bearer {master_key}".encode()}) as answer,
        ):
            body = await read_body(answer, _LARGEST, _SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    told = json_object(body).get("litellm_version")
    found = _VERSION.match(told) if isinstance(told, str) else None
    return tuple(map(int, found.groups())) if found else None
