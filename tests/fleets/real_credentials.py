"""Two real LiteLLM proxies over one table of credentials, and the provider behind them, which knows who sent which key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.testing import litellm
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import OpenAISimulator
from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.world import new_key

PROGRAM = Path(__file__).parent.parent / "inside_litellm" / "with_a_table.py"
NAME = "OpenAI (prod)/1"


@dataclass
class Real:
    """`own`: a key that is given to one deployment beside the credential."""

    master: KeyMaterial
    own: KeyMaterial
    members: Mapping[str, Member]
    provider: Organization
    provider_url: str
    table: Path

    async def send(self, member: str, method: str, path: str, body: Any) -> tuple[int, Mapping[str, Any]]:
        """As a conversation says it."""
        if method == "NO DATABASE":
            self.table.unlink()
            return 200, {}
        key = new_key() if member == "stranger" else self.master
        url = self.members["one" if member == "stranger" else member].url
        method, path = ("POST", "/_test/read") if method == "READ" else (method, path)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            headers = {"Authorization": f"Bearer {key.reveal()}"}
            answer = await client.request(method, f"{url}{path}", json=body, headers=headers)
        document = answer.json()
        return answer.status_code, document if isinstance(document, dict) else {}

    async def sends(self, member: str, deployment: str = "gpt-1") -> str:
        """The fingerprint of the key that the provider sees when this member is called."""
        before = len(self.provider.calls)
        question = {"model": deployment, "messages": [{"role": "user", "content": "hi"}], "num_retries": 0}
        await self.send(member, "POST", "/v1/chat/completions", question)
        (call,) = list(self.provider.calls)[before:]
        return call.fingerprint

    async def create(self, key: KeyMaterial) -> None:
        """The credential, in the table and read by both."""
        self.table.write_text("{}")
        values = {"api_key": key.reveal(), "api_base": self.provider_url}
        body = {"credential_name": NAME, "credential_values": values, "credential_info": {"custom_llm_provider": "openai"}}
        assert (await self.send("one", "POST", "/credentials", body))[0] == 200
        await self.read_all()

    async def read_all(self) -> None:
        for member in self.members:
            await self.send(member, "READ", "", {})


@contextmanager
def started(folder: Path) -> Iterator[Real]:
    provider, master, processes = Organization(new_key()), new_key(), Processes(folder)
    provider.add_project("proj")
    own = provider.add_key("proj", "own")[1]
    table = folder / "table.json"
    table.write_text("{}")
    with OpenAISimulator(provider) as upstream:
        config = litellm.write_config(folder / "config.yaml", [])
        document = json.loads(config.read_text())
        for name, params in (("gpt", {}), ("own", {"api_key": f"os.environ/{litellm.KEY_VARIABLE}"})):
            named = {"model": "openai/gpt-4o-mini", "litellm_credential_name": NAME, **params}
            document["model_list"].append({"model_name": name, "litellm_params": named, "model_info": {"id": f"{name}-1"}})
        config.write_text(json.dumps(document))
        python = litellm.executable().parent / "python"
        members, waiting = {}, []
        try:
            for name in ("one", "two"):
                port = free_port()
                how = litellm.command(config, port, master)
                env = {**how.env, "TABLE": str(table), "LITELLM_SALT_KEY": "salt", litellm.KEY_VARIABLE: own.reveal()}
                process = processes.start(name, [python, PROGRAM, *how.argv[1:]], env=env, cwd=folder)
                members[name] = Member(name, f"http://127.0.0.1:{port}")
                waiting.append(process)
            for member, process in zip(members.values(), waiting, strict=True):
                wait_for_http(f"{member.url}/health/readiness", seconds=litellm.READY_SECONDS, process=process)
            yield Real(master, own, members, provider, upstream.base_url, table)
        finally:
            processes.stop()
