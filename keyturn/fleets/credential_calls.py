"""The HTTP calls to LiteLLM's /credentials, and what a refusal means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.fleets.credential_answers import Told, words_of_refusal
from keyturn.http_answers import no_cookies, read_body
from keyturn.json_object import UnreadableError, inside, json_object, plain_id
from keyturn.material import KeyMaterial
from keyturn.model import Member

_ANSWER = 20.0  # seconds, for each call as a whole
_LARGEST = 1024 * 1024

_NOT_FOUND = "Credential not found"
_NO_DATABASE = "give the proxy a database, `store_model_in_db: true`, and LITELLM_SALT_KEY in its environment"


class CredentialCalls:
    """Calls with the proxies' master key. KeyturnError in our words; nothing that a proxy says is quoted."""

    def __init__(
        self, master_key: Callable[[], Awaitable[KeyMaterial]], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._master_key = master_key
        # Each call on a connection of its own: one that is kept would lead to the same worker again and again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(
            transport=transport, timeout=_ANSWER, trust_env=False, cookies=no_cookies(), limits=limits
        )

    async def read(self, member: Member, name: str) -> Told | None:
        """What the member has in its memory; None where it has no such credential, or has not read it yet."""
        status, document = await self._send(member, "GET", f"/credentials/by_name/{quote(name, safe='')}")
        if status == 404 and words_of_refusal(document).startswith(_NOT_FOUND):
            return None
        if status == 200:
            try:
                return Told.of(document)
            except UnreadableError:
                pass
        raise _refusal(member, name, status, document)

    async def write(self, member: Member, name: str, values: Mapping[str, KeyMaterial], info: Mapping[str, Any]) -> None:
        """Change these fields of the credential, and no other. `info` replaces its whole metadata.

        Quiet when it is so already. UnavailableError also where the answer was lost: the same call may be made again.
        """
        body = {
            "credential_name": name,  # versions before 1.106 take it for its new name
            "credential_values": {field: each.reveal() for field, each in values.items()},
            "credential_info": dict(info),
        }
        path = f"/credentials/{quote(name, safe='')}"
        status, document = await self._send(member, "PATCH", path, json.dumps(body).encode())
        if status != 200 or document.get("success") is not True:
            raise _refusal(member, name, status, document)

    async def has_database(self, member: Member) -> bool:
        """What its readiness says, which asks for no login."""
        status, document = await self._send(member, "GET", "/health/readiness")
        return status == 200 and document.get("db") == "connected"

    async def lists(self, member: Member) -> bool:
        """Whether it answers what credentials it has."""
        status, document = await self._send(member, "GET", "/credentials")
        return status == 200 and isinstance(document.get("credentials"), list)

    async def users(self, member: Member, name: str) -> tuple[str, ...]:
        """The ids of the deployments that name this credential."""
        _, document = await self._send(member, "GET", "/model/info")
        entries = document.get("data")
        named = [
            each
            for each in (entries if isinstance(entries, list) else ())
            if inside(each, "litellm_params", "litellm_credential_name") == name
        ]
        return tuple(_id(inside(each, "model_info", "id")) for each in named)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(
        self, member: Member, method: str, path: str, content: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {b"Authorization": b"Bearer " + (await self._master_key()).reveal().encode()}
        if content is not None:
            headers[b"Content-Type"] = b"application/json"
        try:
            async with (
                asyncio.timeout(_ANSWER),
                self._http.stream(method, f"{member.url}{path}", headers=headers, content=content) as answer,
            ):
                return answer.status_code, json_object(await read_body(answer, _LARGEST, _ANSWER))
        except TimeoutError:
            failure = f"did not answer within {_ANSWER:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = f"cannot be asked ({type(error).__name__})"
        # Raised out here, so that httpx's error, which holds the request and so the keys, is not its context.
        raise UnavailableError(f"{member.name} at {member.url} {failure}")


def _id(value: Any) -> str:
    try:
        return plain_id(value)
    except UnreadableError:
        return "one without an id"


def unknown(member: Member, name: str) -> MisconfiguredError:
    """There is no such credential."""
    return MisconfiguredError(
        f"{member.name} has no credential {name} in its database",
        remedy="make it there (POST /credentials, with the key that is in use), or say its name with `names`",
    )


def _refusal(member: Member, name: str, status: int, document: Mapping[str, Any]) -> KeyturnError:
    """Measured with 1.106.2: 400 for a wrong key where there is no database, 401 where there is one, 403 for a virtual
    key; 500 for a write without a database. By its source: 404 not in the database, 405 a credential of config.yaml."""
    words = words_of_refusal(document)
    if (status == 400 and words.startswith("No connected db")) or (status in (401, 403) and words):
        return DeniedError(
            f"{member.name} refuses our key for its credentials",
            remedy="let master_key of this fleet be the proxy's master key, no virtual key",
        )
    if status == 500 and "DB not connected" in words:
        return MisconfiguredError(f"{member.name} has no database: its credentials cannot be written", remedy=_NO_DATABASE)
    if status == 404 and words.startswith(_NOT_FOUND):
        return unknown(member, name)
    if status == 405 and words:
        return MisconfiguredError(
            f"the credential {name} stands in the config.yaml of {member.name}, where it cannot be written",
            remedy="take it out of credential_list, and make it in the database (POST /credentials)",
        )
    if not words:
        return UnavailableError(f"what answers at {member.url} is not LiteLLM (status {status})")
    return UnavailableError(f"{member.name} answered {status} when asked for the credential {name}")
