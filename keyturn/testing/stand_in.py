"""A stand-in for LiteLLM as a real program, ready in half a second instead of twenty: it calls the provider for real.

    python -m keyturn.testing.stand_in --config litellm.json --host 127.0.0.1 --port N

It reads a configuration as `keyturn.testing.litellm.write_config` writes it, resolves `os.environ/NAME` once at start as
LiteLLM does, sends chat completions to each deployment's `api_base` with the key it has loaded or the one in the body,
and answers with LiteLLM's headers and error words (as measured with 1.106.2; tests/canary holds the canary to the real
one). No cache, no fallbacks, no retries. It drains on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyturn.json_object import inside, json_object
from keyturn.material import KeyMaterial

VERSION = "1.106.2"
ENVIRONMENT = "os.environ/"


@dataclass(frozen=True)
class _Deployment:
    id: str
    name: str
    model: str
    api_base: str
    api_key: str
    headers: dict[str, str]


class StandIn:
    """One proxy with what it has loaded."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.deployments = [self._deployment(entry) for entry in config["model_list"]]
        self.master_key = _loaded(config["general_settings"]["master_key"])
        self.drains = bool(config["general_settings"].get("enable_drain_endpoint"))
        self.leaves = False
        self.client = httpx.AsyncClient(timeout=60, trust_env=False)

    @staticmethod
    def _deployment(entry: dict[str, Any]) -> _Deployment:
        told = entry["litellm_params"]
        model = told["model"].removeprefix("openai/")
        return _Deployment(
            entry["model_info"]["id"],
            entry["model_name"],
            model,
            told["api_base"],
            _loaded(told["api_key"]),
            told.get("extra_headers", {}),
        )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health/readiness", self.healthy),
                Route("/health/liveliness", self.healthy),
                Route("/health/drain", self.drain),
                Route("/health/readiness/details", self.details),
                Route("/model/info", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    async def drain(self, request: Request) -> Response:
        """From now on it is not ready. (LiteLLM answers when nothing is under way; this one at once.)"""
        self.leaves = self.drains
        return JSONResponse({"status": "drained"}) if self.drains else _error(404, "Not Found")

    async def healthy(self, request: Request) -> Response:
        if self.leaves:
            return JSONResponse({"status": "shutting_down"}, 503)
        return JSONResponse({"status": "healthy", "db": "Not connected"})

    async def details(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"status": "healthy", "litellm_version": VERSION})

    async def models(self, request: Request) -> Response:
        entries = [{"model_name": each.name, "model_info": {"id": each.id}} for each in self.deployments]
        return self._refused(request) or JSONResponse({"data": entries})

    async def chat(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        body = await request.json()
        deployment = next((each for each in self.deployments if body["model"] in (each.id, each.name)), None)
        if deployment is None:
            return _error(400, f"/chat/completions: Invalid model name passed in model={body['model']}")
        candidate = body.pop("api_key", None)
        for name in ("cache", "num_retries", "disable_fallbacks"):
            body.pop(name, None)
        sent = self.client.build_request(
            "POST",
            f"{deployment.api_base}/chat/completions",
            json={**body, "model": deployment.model},
            headers={**deployment.headers, "authorization": f"Bearer {candidate or deployment.api_key}"},
        )
        try:
            answer = await self.client.send(sent, stream=True)
        except httpx.HTTPError:
            return _error(500, "litellm.InternalServerError: InternalServerError: OpenAIException - Connection error.")
        if answer.status_code != 200:
            return _translated(answer.status_code, await answer.aread())
        headers = {
            "x-litellm-call-id": secrets.token_hex(8),
            "x-litellm-version": VERSION,
            "x-litellm-model-id": secrets.token_hex(32) if candidate else deployment.id,
            "x-litellm-attempted-retries": "0",
            "x-litellm-attempted-fallbacks": "0",
        }
        kind = answer.headers.get("content-type", "application/json")
        return StreamingResponse(answer.aiter_bytes(), headers=headers, media_type=kind)

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.master_key}":
            return None
        return _error(400, "No connected db.")


_CLASSES = {401: "AuthenticationError", 403: "NotFoundError", 404: "NotFoundError", 429: "RateLimitError"}


def _translated(status: int, body: bytes) -> Response:
    name = _CLASSES.get(status, "InternalServerError")
    if status == 403 and b"model" not in body:
        name = "APIError"
    code = inside(json_object(body), "error", "code") or ""
    return _error(status, f"litellm.{name}: {name}: OpenAIException - the provider said {status} {code}".rstrip())


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": None, "param": None, "code": str(status)}}, status)


def _loaded(value: str) -> str:
    return os.environ.get(value.removeprefix(ENVIRONMENT), "") if value.startswith(ENVIRONMENT) else value


def main() -> None:
    parser = argparse.ArgumentParser(prog="stand_in", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--only", type=Path, help="a file of fingerprints: it ends at once when it loads any other key")
    chosen = parser.parse_args()
    proxy = StandIn(json.loads(chosen.config.read_text()))
    if chosen.only is not None and chosen.only.exists():
        loaded = {KeyMaterial(each.api_key).fingerprint() for each in proxy.deployments}
        if loaded - set(chosen.only.read_text().split()):
            sys.exit(3)
    uvicorn.run(proxy.app(), host=chosen.host, port=chosen.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
