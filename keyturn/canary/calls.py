"""The HTTP calls of a canary to one LiteLLM proxy."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from keyturn.canary.verdicts import BODY_LIMIT, Answer, Meaning, Reading, read
from keyturn.errors import DeniedError, MisconfiguredError, UnavailableError
from keyturn.http_answers import no_cookies, read_body
from keyturn.json_object import UnreadableError, inside, plain_id
from keyturn.material import KeyMaterial
from keyturn.model import Member

_MODEL_LIST_LIMIT = 16 * 1024 * 1024
_NAMES_SHOWN, _LONGEST_NAME = 20, 256


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of a proxy's model list: its group's name and its own id, "" where the proxy gives none."""

    name: str
    id: str


class Calls:
    """Calls to members with their master key, each bounded by `timeout` as a whole.

    All raise DeniedError when a member refuses our master key; all but `ask` UnavailableError when it cannot be asked.
    """

    def __init__(
        self,
        master_key: Callable[[], Awaitable[KeyMaterial]],
        timeout: timedelta,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._master_key = master_key
        self._seconds = timeout.total_seconds()
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def ready(self, member: Member) -> None:
        """Return when the member says that it is ready."""
        answer = await self._send(member, "GET", "/health/readiness")
        if answer.status != 200:
            raise UnavailableError(f"{member.name} at {member.url} is not ready (status {answer.status})")

    async def version(self, member: Member) -> tuple[int, int, int] | None:
        """The member's version of LiteLLM; None where it does not tell."""
        found: Any = None
        for path in ("/health/readiness/details", "/health/readiness"):  # the second: where older versions say it
            found = (await self._send(member, "GET", path)).document().get("litellm_version")
            if found is not None:
                break
        numbers = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", found) if isinstance(found, str) else None
        return (int(numbers[1]), int(numbers[2]), int(numbers[3])) if numbers else None

    async def deployments(self, member: Member) -> Sequence[Deployment]:
        """The member's model list. Needs no database."""
        answer = await self._send(member, "GET", "/model/info", limit=_MODEL_LIST_LIMIT)
        if answer.status != 200:
            words = self._read(member, answer).words
            raise UnavailableError(f"{member.name} does not list its models: {words}")
        entries = answer.document().get("data")
        if not isinstance(entries, list):
            raise UnavailableError(f"{member.name} does not list its models: what answers is not LiteLLM")
        return [_deployment(entry) for entry in entries]

    async def ask(self, member: Member, deployment: str, key: Mapping[str, KeyMaterial] | None = None) -> Reading:
        """The pinned chat completion, with a key of ours or (None) with the one that the member has loaded.

        `key`: LiteLLM's parameters, `api_key` or those of a key's parts.
        """
        body: dict[str, Any] = {
            "model": deployment,  # its id pins it, and passes by the group's cooldown
            "messages": [{"role": "user", "content": f"Answer with one word. (canary {uuid.uuid4()})"}],
            "max_tokens": 16,
            "cache": {"no-cache": True, "no-store": True},  # the HTTP header Cache-Control does not do it
            "num_retries": 0,
            "disable_fallbacks": True,  # else a candidate that fails is sent to another provider
        }
        if key is not None:
            # `api_key` always, for it gives this call a deployment of its own: else LiteLLM would count a failure as one of
            # the deployment that serves users. Where it is null LiteLLM takes the parts (measured: 1.106.2 and 1.109.1).
            body |= {"api_key": None, **{name: material.reveal() for name, material in key.items()}}
        try:
            answer = await self._send(member, "POST", "/v1/chat/completions", json.dumps(body).encode())
        except UnavailableError as error:
            return Reading(Meaning.UNDECIDED, error.message)
        # A key in the body gives the deployment another id for this one call.
        return self._read(member, answer, deployment if key is None else None)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @staticmethod
    def _read(member: Member, answer: Answer, deployment: str | None = None) -> Reading:
        reading = read(answer, deployment)
        if reading.meaning is Meaning.MASTER_KEY_REFUSED:
            raise DeniedError(
                f"{member.name}: {reading.words}",
                remedy="set master_key of this fleet to the proxy's general_settings.master_key",
            )
        return reading

    async def _send(
        self, member: Member, method: str, path: str, content: bytes | None = None, limit: int = BODY_LIMIT
    ) -> Answer:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=None, transport=self._transport, cookies=no_cookies())  # noqa: S113 - timed as a whole below
        # Bytes: text that is not ASCII would end up in httpx's encoding error.
        headers = {b"Authorization": b"Bearer " + (await self._master_key()).reveal().encode()}
        if content is not None:
            headers[b"Content-Type"] = b"application/json"
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(method, member.url + path, headers=headers, content=content) as response,
            ):
                return Answer(response.status_code, response.headers, await read_body(response, limit, self._seconds))
        except TimeoutError:
            failure = f"did not answer within {self._seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = f"cannot be asked ({type(error).__name__})"
        # Raised out here, so that httpx's error, which holds the request and so the keys, is not its context.
        raise UnavailableError(f"{member.name} at {member.url} {failure}")


def choose(deployments: Sequence[Deployment], model: str, chosen: str | None) -> str:
    """The id of the one deployment that is meant. `model`: a group or an id; `chosen`: an id in it, where it has several.

    MisconfiguredError when none or several remain; it lists what there is.
    """
    group = [each for each in deployments if model in (each.name, each.id)]
    if not group:
        there = _listed(sorted({each.name for each in deployments if each.name}))
        raise MisconfiguredError(
            f"canary model {model} is not known to the proxy; it has: {there}",
            remedy="set canary.model to a model_name (no wildcard) or a model_info.id of the proxy's config",
        )
    ids = list(dict.fromkeys(each.id for each in group))
    meant = [each for each in ids if chosen in (None, each)]
    if not meant:
        raise MisconfiguredError(
            f"canary deployment {chosen} is not in model {model}; it has: {_listed(ids)}",
            remedy="set canary.deployment to one of these, and give it a model_info.id: a default id changes with the key",
        )
    if len(meant) > 1:
        raise MisconfiguredError(
            f"canary model {model} has several deployments: {_listed(ids)}",
            remedy="set canary.deployment to the id of the one that uses this credential",
        )
    if not meant[0]:
        raise MisconfiguredError(
            f"the deployment of {model} has no id", remedy="give it a model_info.id in LiteLLM's config"
        )
    return meant[0]


def _deployment(entry: Any) -> Deployment:
    return Deployment(_name(inside(entry, "model_name")), _name(inside(entry, "model_info", "id")))


def _name(value: Any) -> str:
    try:
        return plain_id(value, _LONGEST_NAME)
    except UnreadableError:
        return ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (", ".join(names[:_NAMES_SHOWN]) or "none").encode("ascii", "replace").decode() + more
