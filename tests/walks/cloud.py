"""A stand-in for Microsoft: it gives tokens of seconds for a client secret, and answers no call with one that has ended."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class Cloud:
    """`life`: of a token, in seconds. `literal`: stands in every token. `calls`: answered ones, by their token's number."""

    def __init__(self, life: int, secret: str, literal: str) -> None:
        self.life, self._secret, self._literal = life, secret, literal
        self._tokens: dict[str, tuple[int, float]] = {}
        self.calls: Counter[int] = Counter()
        self.refused: list[str] = []

    @property
    def given(self) -> int:
        return len(self._tokens)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/{tenant}/oauth2/v2.0/token", self.token, methods=["POST"]),
                Route("/openai/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    async def token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if form.get("client_secret") != [self._secret]:
            return JSONResponse({"error": "invalid_client"}, 401)
        text = f"eyJ{self._literal}{secrets.token_hex(400)}"  # as long as a real one
        self._tokens[text] = (len(self._tokens) + 1, time.monotonic() + self.life)
        return JSONResponse({"token_type": "Bearer", "expires_in": self.life, "access_token": text})

    async def chat(self, request: Request) -> Response:
        number, ends = self._tokens.get(request.headers["authorization"].removeprefix("Bearer "), (0, 0.0))
        if time.monotonic() >= ends:
            self.refused.append("ended" if number else "unknown")
            return JSONResponse({"error": {"message": "Access token is missing, invalid, or expired", "code": "401"}}, 401)
        self.calls[number] += 1
        head = {"id": f"chatcmpl-{number}", "created": 1, "model": "gpt-4o-mini"}
        if (await request.json()).get("stream"):
            return StreamingResponse(_parts(head), media_type="text/event-stream")
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"token {number}"}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _parts(head: dict[str, object]) -> Iterator[str]:
    for delta, reason in (({"role": "assistant", "content": "token"}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"
