"""What stands between one member and the provider, and lets certain keys through: as an allow-list of addresses does."""

from __future__ import annotations

from collections.abc import Collection

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyturn.material import KeyMaterial


class Gate:
    """`allowed`: fingerprints of keys. Calls with others are answered with 403 and counted."""

    def __init__(self, provider_url: str, allowed: Collection[str]) -> None:
        self._allowed = allowed
        self._http = httpx.AsyncClient(base_url=provider_url, timeout=60, trust_env=False)
        self.turned_away = 0

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self._chat, methods=["POST"])])

    async def _chat(self, request: Request) -> Response:
        login = request.headers["authorization"]
        if KeyMaterial(login.removeprefix("Bearer ")).fingerprint() not in self._allowed:
            self.turned_away += 1
            return JSONResponse({"error": {"message": "Calls from your address are not permitted", "code": "denied"}}, 403)
        headers = {"authorization": login, "content-type": "application/json"}
        asked = self._http.build_request("POST", request.url.path, content=await request.body(), headers=headers)
        answer = await self._http.send(asked, stream=True)
        return StreamingResponse(
            answer.aiter_bytes(),
            answer.status_code,
            media_type=answer.headers["content-type"],
            background=BackgroundTask(answer.aclose),
        )
