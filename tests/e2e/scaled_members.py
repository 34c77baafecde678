"""Proxies of many fleets as one light program: LiteLLM's credentials in a database, a member and a table for each fleet.

    python -m tests.e2e.scaled_members --port N --provider URL --fleets FILE

FILE is JSON: {address: [credentials]}. Each fleet listens on its own loopback address at the same port, has a deployment for
each of its credentials under that name, and is asked for chat completions as LiteLLM is: with the key that it has, or with
that in the body, the provider is called for real. `GET /_writes` tells how often each credential was written.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections import Counter
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.material import KeyMaterial
from keyturn.testing.litellm_credentials import LiteLLMDatabase, Proxy

_COMPLETIONS = "/v1/chat/completions"


class Members:
    """A database for each fleet, by the address that it is asked at."""

    def __init__(self, fleets: dict[str, list[str]], provider: str, master_key: KeyMaterial) -> None:
        self.databases = {
            address: LiteLLMDatabase(master_key, {address: Proxy()}, deployments={name: name for name in names})
            for address, names in fleets.items()
        }
        self.provider = httpx.AsyncClient(base_url=provider, timeout=60, trust_env=False)

    async def answer(self, request: Request) -> Response:
        address, content = request.url.netloc, await request.body()
        database = self.databases[address]
        if request.url.path == _COMPLETIONS:
            await self._try(database, address, json.loads(content))
        asked = httpx.Request(request.method, str(request.url), headers=request.headers.raw, content=content)
        answer = await database.transport.handle_async_request(asked)
        headers = {name: text for name, text in answer.headers.items() if name.startswith("x-")}
        return Response(await answer.aread(), answer.status_code, headers, "application/json")

    async def _try(self, database: LiteLLMDatabase, address: str, body: dict[str, str]) -> None:
        """Whether the provider accepts the key that this call is made with."""
        held = database.proxies[address].workers[0].get(body["model"], {"credential_values": {}})
        text = body.get("api_key") or held["credential_values"].get("api_key", "none")
        sent = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        answer = await self.provider.post("/chat/completions", json=sent, headers={"authorization": f"Bearer {text}"})
        (database.live.add if answer.is_success else database.live.discard)(KeyMaterial(text).fingerprint())

    async def writes(self, _request: Request) -> Response:
        every = (body for each in self.databases.values() for _, body in each.patches)
        return JSONResponse(Counter(body["credential_name"] for body in every))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scaled_members", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--provider", required=True)
    parser.add_argument("--fleets", type=Path, required=True)
    chosen = parser.parse_args()
    fleets = {f"{address}:{chosen.port}": names for address, names in json.loads(chosen.fleets.read_text()).items()}
    members = Members(fleets, chosen.provider, KeyMaterial(os.environ["LITELLM_MASTER_KEY"]))
    methods = ["GET", "POST", "PATCH"]
    app = Starlette(routes=[Route("/_writes", members.writes), Route("/{path:path}", members.answer, methods=methods)])
    sockets = [socket.create_server((address.split(":")[0], chosen.port)) for address in fleets]
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets)


if __name__ == "__main__":
    main()
