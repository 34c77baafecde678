"""A LiteLLM in memory that lies in every way the real one can: each lie is a field. Behind `httpx.MockTransport`."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from keyturn.key_parts import AWS_ACCESS_KEY, joined
from keyturn.material import KeyMaterial
from keyturn.model import Member


def new_key() -> KeyMaterial:
    return KeyMaterial("sk-" + secrets.token_hex(24))


def always(*members: Member) -> Callable[[], Awaitable[Sequence[Member]]]:
    """A fleet whose members do not change, as a canary is given it."""

    async def those() -> Sequence[Member]:
        return members

    return those


@dataclass(frozen=True)
class Seen:
    """A chat completion that was asked for. `key`: fingerprint of the key in its body, None where it has none."""

    member: str
    body: dict[str, Any]
    key: str | None


@dataclass
class FakeLiteLLM:
    """Some members at http://NAME, all alike. `live`: fingerprints of the keys that the provider accepts."""

    master_key: KeyMaterial = field(default_factory=new_key)
    loaded: KeyMaterial = field(default_factory=new_key)
    live: set[str] = field(default_factory=set)
    models: list[tuple[str, str]] = field(default_factory=lambda: [("gpt", "gpt-1"), ("other", "other-1")])
    version: str | None = "1.106.2"
    old_readiness: bool = False  # no /health/readiness/details; the version in /health/readiness
    with_database: bool = False  # words the refusal of our key differently
    down: set[str] = field(default_factory=set)  # members that refuse connections
    hanging: set[str] = field(default_factory=set)  # members that never answer a chat completion
    bans_body_key: bool = False
    cache: bool = False  # answers what does not switch the cache off
    cache_lies: bool = False  # answers from the cache although it is switched off
    fallback: bool = False  # goes to another provider unless that is switched off
    retries: bool = False  # goes through the pool unless that is switched off
    mock: bool = False  # answers whatever the key is
    cooled: set[str] = field(default_factory=set)  # groups, not deployments
    answers_as: str | None = None  # the deployment that says it answered
    upstream: tuple[int, str] | None = None  # the provider's error for accepted keys
    raw: Callable[[str], httpx.Response | None] = lambda path: None  # answers instead
    seen: list[Seen] = field(default_factory=list)
    other_provider_saw: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live.add(self.loaded.fingerprint())

    def member(self, name: str = "one") -> Member:
        return Member(name, f"http://{name}")

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        parts = urlsplit(str(request.url))
        if parts.netloc in self.down:
            raise httpx.ConnectError("refused", request=request)
        if (answer := self.raw(parts.path)) is not None:
            return answer
        if parts.path == "/health/readiness":
            known = {"litellm_version": self.version} if self.old_readiness else {}
            return httpx.Response(200, json={"status": "healthy", **known})
        if request.headers.get("authorization") != f"Bearer {self.master_key.reveal()}":
            return self._our_key_refused()
        if parts.path == "/health/readiness/details":
            known = {} if self.version is None else {"litellm_version": self.version}
            return httpx.Response(404) if self.old_readiness else httpx.Response(200, json=known)
        if parts.path == "/model/info":
            entries = [{"model_name": name, "model_info": {"id": identity}} for name, identity in self.models]
            return httpx.Response(200, json={"data": entries})
        if parts.netloc in self.hanging:
            await asyncio.Event().wait()
        return self._complete(parts.netloc, json.loads(request.content))

    def _our_key_refused(self) -> httpx.Response:
        if self.with_database:
            return _error(401, "Authentication Error, Invalid proxy server token passed.")
        return _error(400, "No connected db.")

    def _complete(self, member: str, body: dict[str, Any]) -> httpx.Response:
        candidate = _candidate(body)
        self.seen.append(Seen(member, body, candidate.fingerprint() if candidate else None))
        if candidate and self.bans_body_key:
            return _error(401, "Authentication Error, Rejected Request: api_key is not allowed in request body.")
        if body["model"] in self.cooled:
            return _error(429, "No deployments available for selected model, Try again in 5 seconds.")
        key = candidate or self.loaded
        served_by = self.answers_as or (secrets.token_hex(32) if candidate else str(body["model"]))
        if self.cache_lies or (self.cache and not body.get("cache", {}).get("no-cache")):
            return _completion(served_by, {"x-litellm-cache-key": secrets.token_hex(32)})
        if self.mock:
            return _completion(served_by)
        if key.fingerprint() not in self.live:
            if self.retries and body.get("num_retries") != 0:
                return _completion("gpt-2", {"x-litellm-attempted-retries": "1"})
            if self.fallback and not body.get("disable_fallbacks"):
                self.other_provider_saw.append(key.fingerprint())
                return _completion("other-1", {"x-litellm-attempted-fallbacks": "1"})
            return _error(401, "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key")
        return _error(*self.upstream) if self.upstream else _completion(served_by)


def _candidate(body: dict[str, Any]) -> KeyMaterial | None:
    """The key of a call's own; of a key of two parts the whole text."""
    if body.get("api_key"):
        return KeyMaterial(body["api_key"])
    parts = {each.variable: body[each.name] for each in AWS_ACCESS_KEY if each.name in body}
    return KeyMaterial(joined(parts)) if parts else None


def _completion(deployment: str, more: dict[str, str] | None = None) -> httpx.Response:
    headers = {
        "x-litellm-call-id": secrets.token_hex(8),
        "x-litellm-model-id": deployment,
        "x-litellm-attempted-retries": "0",
        "x-litellm-attempted-fallbacks": "0",
        **(more or {}),
    }
    return httpx.Response(200, headers=headers, json={"choices": [{"index": 0, "message": {"content": "hi"}}]})


def _error(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "type": "x", "code": str(status)}})
