"""A stand-in for `litellm` as a real program, ready in half a second instead of ten: it reads its key once, at start.

    python -m keyturn.testing.fake_proxy --config IGNORED --port N

It answers with the fingerprint of the key that it loaded, drains on SIGTERM and then ends by it (uvicorn, as LiteLLM),
and can be told to be slow, to hold its streams open, to break with certain keys, to fail their calls, or to read its keys
from files at each request. For the canary it is as much of LiteLLM as that asks: one deployment for each key, named after
its variable, and LiteLLM's headers and error words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from keyturn.material import KeyMaterial

OF_THE_VENDOR = "words of the vendor"  # in every error that it answers with


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fake_proxy", description=__doc__)
    parser.add_argument("--config")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--num_workers")
    parser.add_argument("--env", action="append", help="the variables its keys are in (OPENAI_API_KEY)")
    parser.add_argument("--keys", type=Path, help="a folder of files, one for each variable, read at each request")
    parser.add_argument("--ready-after", type=float, default=0, help="seconds until it says that it is ready")
    parser.add_argument("--chunks", type=int, default=5, help="parts of a stream")
    parser.add_argument("--gap", type=float, default=0.05, help="seconds between them")
    parser.add_argument("--hold", type=Path, help="streams stop after the first part until this file is there")
    parser.add_argument("--refuse", type=Path, help="a file of fingerprints: it ends at once when it loads such a key")
    parser.add_argument("--stall", type=Path, help="a file of fingerprints: it is never ready when it loads such a key")
    parser.add_argument("--fail", type=Path, help="a file of FINGERPRINT STATUS pairs: how calls with such a key end")
    return parser.parse_args()


def _listed(path: Path | None) -> set[str]:
    return set(path.read_text().split()) if path is not None and path.exists() else set()


def _fails(path: Path | None) -> dict[str, int]:
    words = path.read_text().split() if path is not None and path.exists() else []
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


_CLASSES = {401: "AuthenticationError", 429: "RateLimitError"}


def main() -> None:
    arguments = _arguments()
    names = arguments.env or ["OPENAI_API_KEY"]

    def keys() -> dict[str, str]:
        folder: Path | None = arguments.keys
        texts = {name: os.environ[name] if folder is None else (folder / name).read_text() for name in names}
        return {name: KeyMaterial(text).fingerprint() for name, text in texts.items()}

    at_start = keys()
    if _listed(arguments.refuse) & set(at_start.values()):
        sys.exit(3)
    stalled = bool(_listed(arguments.stall) & set(at_start.values()))
    ready_at = time.monotonic() + arguments.ready_after

    async def readiness(request: Request) -> Response:
        ready = not stalled and time.monotonic() >= ready_at
        return JSONResponse({"status": "healthy" if ready else "starting"}, 200 if ready else 503)

    async def liveliness(request: Request) -> Response:
        return PlainTextResponse("I'm alive!")

    async def parts(first: str) -> AsyncIterator[str]:
        for number in range(arguments.chunks):
            yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': first}}]})}\n\n"
            while number == 0 and arguments.hold is not None and not arguments.hold.exists():  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.02)
            await asyncio.sleep(arguments.gap)
        yield "data: [DONE]\n\n"

    async def chat(request: Request) -> Response:
        loaded = keys() if arguments.keys is not None else at_start
        body = await request.json()
        asked = str(body.get("model", "")).removesuffix("-1")
        first = loaded[asked if asked in loaded else names[0]]
        if status := _fails(arguments.fail).get(first):
            words = f"litellm.{_CLASSES.get(status, 'APIError')}: {OF_THE_VENDOR}"
            return JSONResponse({"error": {"message": words, "code": str(status)}}, status)
        if body.get("stream"):
            return StreamingResponse(parts(first), media_type="text/event-stream")
        message = {"role": "assistant", "content": first}
        headers = {"x-litellm-call-id": "call", "x-litellm-model-id": f"{asked}-1"}
        found = {"choices": [{"index": 0, "message": message}], "loaded": loaded, "pid": os.getpid()}
        return JSONResponse(found, headers=headers)

    async def models(request: Request) -> Response:
        return JSONResponse({"data": [{"model_name": name, "model_info": {"id": f"{name}-1"}} for name in names]})

    routes = [
        Route("/model/info", models),
        Route("/health/readiness", readiness),
        Route("/health/liveliness", liveliness),
        Route("/v1/chat/completions", chat, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
