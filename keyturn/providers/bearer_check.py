"""Whether a key is accepted, where no vendor's own API is known: a GET with it, as `Authorization: Bearer`."""

from __future__ import annotations

import httpx

from keyturn.errors import MisconfiguredError
from keyturn.http_answers import no_cookies, read_body
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict
from keyturn.providers.negative_control import NegativeControl

_LARGEST_ANSWER = 8 * 1024 * 1024


class BearerCheck:
    """2xx accepts, 401 rejects, all else says nothing. Accepted is believed where a key that nobody has is refused."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._client: httpx.AsyncClient | None = None
        self._control = NegativeControl(self._ask)

    async def ask(self, material: KeyMaterial) -> Judgement:
        """Raises MisconfiguredError alone: where no client can be made."""
        return await self._control.ask(material)

    async def _ask(self, material: KeyMaterial) -> Judgement:
        # Bytes, because a str that is not ASCII fails with an exception that holds it.
        headers = {b"Authorization": f"Bearer {material.reveal()}".encode()}
        try:
            async with self._http().stream("GET", self._url, headers=headers) as answer:
                await read_body(answer, _LARGEST_ANSWER, self._seconds)
                status = answer.status_code
        except httpx.HTTPError as error:
            return Judgement(Verdict.INDETERMINATE, f"no answer from check_url ({type(error).__name__})")
        if 200 <= status < 300:
            return Judgement(Verdict.ACCEPTED, f"check_url accepts the key ({status})")
        if status == 401:
            return Judgement(Verdict.REJECTED, "check_url does not accept the key (401)")
        return Judgement(Verdict.INDETERMINATE, f"what check_url answers ({status}) says nothing about the key")

    async def aclose(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            try:
                self._client = httpx.AsyncClient(timeout=httpx.Timeout(self._seconds, pool=None), cookies=no_cookies())
            except (httpx.InvalidURL, ValueError, OSError, ImportError) as error:
                raise MisconfiguredError(
                    f"no client for check_url can be made ({type(error).__name__})",
                    remedy="check the proxy variables and SSL_CERT_FILE",
                ) from None
        return self._client
