"""The program's own LiteLLM, asked as a proxy is asked: so that a canary can prove what an embedded ring gives out.

    POST /v1/chat/completions   the master key   one call through litellm.completion: no cache, no retry, no fallback
    GET  /model/info            the master key   the models that can be asked for
    GET  /health/readiness/details               the master key; LiteLLM's version

A call goes the way the program's own calls go: by the same stored credential, or with what the same `ring.get` gives.
What the provider says is judged here, and answered in words of ours with LiteLLM's error classes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.canary.verdicts import Answer, Meaning, read
from keyturn.delivery.control import same_text
from keyturn.delivery.variable_names import PARTS_BY_PROVIDER_KIND
from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial

log = logging.getLogger("keyturn.keyring")

_MOST_TOKENS = 256
_KEY = ("api_key", *(part.name for parts in PARTS_BY_PROVIDER_KIND.values() for part in parts))


class Probe:
    """`models`: for each model's name the arguments of `litellm.completion`, as the program itself gives them.

        Probe(litellm, {"gpt-4o-mini": {"model": "openai/gpt-4o-mini", "litellm_credential_name": "OPENAI_API_KEY"}})
        Probe(litellm, {"gpt-4o-mini": {"model": "openai/gpt-4o-mini", "api_key": lambda: ring.get("OPENAI_API_KEY")}})

    A function is called for each call. `master_key`: a reference to the fleet's `master_key`, which a canary logs in with.
    MisconfiguredError for an `api_key`, or a part of a key, that is text: it would never turn. For a key of several parts
    name the stored credential: between two functions it may turn.
    """

    def __init__(
        self,
        litellm: Any,
        models: Mapping[str, Mapping[str, Any]],
        master_key: str = "env:LITELLM_MASTER_KEY",
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        if any("model" not in each or any(isinstance(each.get(name), str) for name in _KEY) for each in models.values()):
            raise MisconfiguredError(
                "a model of the probe has no `model`, or a literal key",
                remedy="give litellm_credential_name, or a function as api_key: lambda: ring.get(NAME)",
            )
        self._litellm, self._models, self.master_key = litellm, models, master_key
        self._seconds = timeout.total_seconds()

    def routes(self, master_key: KeyMaterial) -> Sequence[Route]:
        def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
            async def guard(request: Request) -> Response:
                if not same_text(request.headers.get("authorization", ""), f"Bearer {master_key.reveal()}"):
                    return _error(401, "Authentication Error, this is not the probe's master key")
                return await endpoint(request)

            return guard

        return [
            Route("/model/info", guarded(self._listed), methods=["GET"]),
            Route("/health/readiness/details", guarded(self._details), methods=["GET"]),
            Route("/v1/chat/completions", guarded(self._chat), methods=["POST"]),
        ]

    async def _listed(self, request: Request) -> Response:
        return JSONResponse({"data": [{"model_name": name, "model_info": {"id": name}} for name in self._models]})

    async def _details(self, request: Request) -> Response:
        return JSONResponse({"status": "healthy", "litellm_version": _litellm_version()})

    async def _chat(self, request: Request) -> Response:
        asked = json_object(await request.body())
        name, messages, most = (asked.get(each) for each in ("model", "messages", "max_tokens"))
        candidate = {each: text for each in _KEY if isinstance(text := asked.get(each), str)}
        if name not in self._models or not isinstance(messages, list):
            return _error(400, "Invalid model name, or no messages")
        if getattr(self._litellm, "model_fallbacks", None):
            return _error(503, "litellm.model_fallbacks is set: another key may answer")
        try:
            arguments = {name: each() if callable(each) else each for name, each in self._models[str(name)].items()}
            if candidate:  # which nobody is to be served yet
                own = ("litellm_credential_name", *_KEY)
                arguments = {each: value for each, value in arguments.items() if each not in own} | candidate
            arguments |= {
                "messages": messages,
                "max_tokens": most if isinstance(most, int) and 0 < most <= _MOST_TOKENS else _MOST_TOKENS,
                "cache": {"no-cache": True, "no-store": True},
                "num_retries": 0,
                "max_retries": 0,
                "timeout": self._seconds,
            }
            # In a thread and not awaited: LiteLLM's asynchronous clients belong to the program's own event loop.
            answer = await asyncio.to_thread(self._litellm.completion, **arguments)
        except KeyturnError as error:
            return _error(503, f"the key ring gives no key: {error.message}")
        except Exception as error:  # judged, and never handed on: it has the provider's words in it
            status, words = _judged(error)
        else:
            return _answered(str(name), answer)
        return _error(status, words)


def _answered(name: str, answer: Any) -> Response:
    try:
        choice = answer.choices[0]
        text, reason = str(choice.message.content), str(choice.finish_reason)
        hidden = getattr(answer, "_hidden_params", None) or {}
        cached = bool(hidden.get("cache_hit"))
    except (AttributeError, IndexError, TypeError):
        return _error(502, "litellm.completion gave no chat completion")
    headers = {
        "x-litellm-call-id": str(uuid.uuid4()),
        "x-litellm-model-id": name,
        "x-litellm-attempted-retries": "0",
        "x-litellm-attempted-fallbacks": "0",
        **({"x-litellm-cache-key": "hit"} if cached else {}),
    }
    message = {"role": "assistant", "content": text}
    return JSONResponse(
        {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": reason}]},
        headers=headers,
    )


def _judged(error: Exception) -> tuple[int, str]:
    """Status and words for what litellm.completion raised, so that a canary reads what it would read from a proxy."""
    status, kind = getattr(error, "status_code", None), type(error).__name__
    if not isinstance(status, int) or not kind.isidentifier():
        log.warning("a canary's call failed in litellm.completion (%s)", kind)
        return 500, f"litellm.completion failed ({kind})"
    reading = read(Answer(status, {}, json.dumps({"error": {"message": str(error)}}).encode()))
    if status == 401 and reading.meaning is not Meaning.KEY_REFUSED:
        status = 503  # a 401 that is not about the key must not be read as one
    return status, f"litellm.{kind}: {reading.words}"


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error", "code": str(status)}}, status)


def _litellm_version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return ""
