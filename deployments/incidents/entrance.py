"""The door: who is let in, how often, and how much is read of whom. Whoever is not let in learns nothing by it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import ClientDisconnect, Request

from keyturn.errors import KeyturnError
from keyturn.incident_settings import IncidentSettings, SourceSettings
from keyturn.incidents import signatures
from keyturn.incidents.limits import Rates, Replays
from keyturn.material import KeyMaterial
from keyturn.references import Resolver

_KEEP_SECONDS = 60.0  # a secret is read anew after that: one that was rotated, and of a store not at each request
_OUTLIVE_SECONDS = 600.0  # and is gone that long after it could be read last: one that was taken away lets nobody in
_READ_SECONDS = 10.0

log = logging.getLogger("keyturn.incidents")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TooLargeError(Exception):
    """The body is larger than is taken, or does not come."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who was let in. `source`: a scanner, which may do nothing but report in its own form."""

    name: str
    body: bytes | None = None  # where it had to be read to know who sent it
    source: SourceSettings | None = None


class Secrets:
    """What callers and sources show, read by reference."""

    def __init__(self, resolve: Resolver, seconds: Callable[[], float] = time.monotonic) -> None:
        self._resolve = resolve
        self._seconds = seconds
        self._kept: dict[str, tuple[float, KeyMaterial]] = {}

    async def get(self, reference: str) -> KeyMaterial | None:
        """None where it leads nowhere, or to a text that is too short to be a secret: nobody is let in by it."""
        kept = self._kept.get(reference)
        if kept is not None and self._seconds() - kept[0] < _KEEP_SECONDS:
            return kept[1]
        try:
            found = await self._resolve(reference)
        except KeyturnError as error:
            log.warning("a secret of the incident service cannot be read: %s", error.message)
            return kept[1] if kept is not None and self._seconds() - kept[0] < _OUTLIVE_SECONDS else None
        if not signatures.is_long_enough(found):
            log.warning("%s is too short: %d characters at least", reference, signatures.SHORTEST)
            return None
        self._kept[reference] = (self._seconds(), found)
        return found


class Entrance:
    """Tokens, signatures, replays and rates of one service."""

    def __init__(
        self,
        settings: IncidentSettings,
        resolve: Resolver,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._settings = settings
        self._secrets = Secrets(resolve, seconds)
        self._rates = Rates(seconds)
        self._replays = Replays(now, settings.replay_window)

    async def visitor(self, request: Request) -> Visitor | None:
        """Who sent this; None for nobody who is known. A scanner is known at its own path alone, where no caller is."""
        name = request.url.path.removeprefix("/incidents/")
        source = self._settings.sources.get(name) if request.method == "POST" else None
        if source is not None and request.url.path == f"/incidents/{name}":
            return await self._source(request, name, source)
        return await self._caller(request)

    def wait(self, visitor: Visitor | None) -> float | None:
        """The seconds that this one has to wait; None: it may come in now. Strangers have a rate of their own."""
        if visitor is None:
            return self._rates.take("strangers", self._settings.rate_all)
        kind = "caller" if visitor.source is None else "source"
        alone = self._rates.take(f"{kind} {visitor.name}", self._settings.rate)
        return alone if alone is not None else self._rates.take("all", self._settings.rate_all)

    async def body(self, request: Request, visitor: Visitor) -> bytes:
        """TooLargeError."""
        return visitor.body if visitor.body is not None else await _read(request, self._settings.largest)

    async def _caller(self, request: Request) -> Visitor | None:
        """Every caller is compared, whichever fits."""
        found: Visitor | None = None
        header = request.headers.get("authorization", "")
        body: bytes | None = None
        if "x-keyturn-signature" in request.headers:
            with suppress(TooLargeError):
                body = await _read(request, self._settings.largest)
        for name, caller in self._settings.callers.items():
            secret = await self._secrets.get(caller.token or caller.hmac or "")
            if secret is None:
                continue
            if caller.token is not None and signatures.is_bearer(header, secret):
                found = Visitor(name, body)
            if caller.hmac is not None and body is not None:
                signed = signatures.own(request.headers, request.method, request.url.path, body, secret)
                found = Visitor(name, body) if self._is_new(f"caller {name}", signed) else found
        return found

    async def _source(self, request: Request, name: str, source: SourceSettings) -> Visitor | None:
        secret = await self._secrets.get(source.secret or source.token or "")
        if secret is None:
            return None
        if source.token is not None:
            header = request.headers.get("authorization", "")
            return Visitor(name, None, source) if signatures.is_bearer(header, secret) else None
        try:
            body = await _read(request, self._settings.largest)
        except TooLargeError:
            return None
        check = signatures.github if source.kind == "github" else signatures.gitguardian
        signed = check(request.headers, body, secret)
        return Visitor(name, body, source) if self._is_new(f"source {name}", signed) else None

    def _is_new(self, whose: str, signed: signatures.Signed | None) -> bool:
        if signed is None:
            return False
        return signed.at is None or self._replays.is_new(whose, signed.at, signed.once)


async def _read(request: Request, most: int) -> bytes:
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:12]) > most:
        raise TooLargeError
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLargeError
    except (TimeoutError, ClientDisconnect):
        raise TooLargeError from None
    return bytes(body)
