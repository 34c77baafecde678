"""The double of LiteLLM's credentials says what LiteLLM said in the recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from keyturn.testing.litellm_credentials import LiteLLMDatabase, Proxy
from keyturn.testing.world import new_key
from tests.fleets.credentials_conversation import play, recorded, two_keys


async def test_the_double_says_what_litellm_said() -> None:
    master = new_key()
    double = LiteLLMDatabase(master, {"one": Proxy(), "two": Proxy()})

    async def send(member: str, method: str, path: str, body: Any) -> tuple[int, Mapping[str, Any]]:
        if method == "NO DATABASE":
            double.connected = False
            return 200, {}
        if method == "READ":
            double.proxies[member].salt = body.get("salt", double.proxies[member].salt)
            double.read_table(double.proxies[member])
            return 200, {}
        key, host = (new_key(), "one") if member == "stranger" else (master, member)
        if member == "stranger":
            double.connected = False  # as the real ones say it, whose logins have no database
        async with httpx.AsyncClient(transport=double.transport) as client:
            headers = {"Authorization": f"Bearer {key.reveal()}"}
            answer = await client.request(method, f"http://{host}{path}", json=body, headers=headers)
        double.connected = True if member == "stranger" else double.connected
        return answer.status_code, answer.json()

    assert await play(send, two_keys()) == recorded()
