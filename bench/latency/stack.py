"""The demo's stack with simulated latencies: Prefect's server, `keyturn serve` and the incident service are the programs.

The provider, the store and the members answer from threads of this process, and what they were asked is written down there:
see bench.latency.floor. The adapters that call them are keyturn's own.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config as BotoConfig

from bench.latency.member import Member
from bench.latency.outside import OF_A_MEMBER, Calls, SlowAWS, provider
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import ACCOUNT, PROJECT, REGION, Credential, Database, Embedded
from keyturn.testing.litellm import write_config
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_organization import Organization
from keyturn.testing.processes import free_port, wait_for_http
from keyturn.testing.programs import INCIDENTS, installed

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of a call to the provider, of one to the store, of a completion through a proxy, of the roll of a member."""

    provider: float = 0.3
    store: float = 0.05
    canary: float = 0.5
    roll: float = 5.0

    @classmethod
    def of_environment(cls) -> Latencies:
        """KEYTURN_BENCH_ROLL_SECONDS shortens the rolls, for a try."""
        return cls(roll=float(os.environ.get("KEYTURN_BENCH_ROLL_SECONDS", "5")))


class Stack(Embedded):
    """`calls`: what the outside was asked. Use `running`."""

    def __init__(self, folder: Path, count: int, latencies: Latencies, overlap: str) -> None:
        named = [(f"openai-{n:02}", f"OPENAI_API_KEY_{n:02}", f"gpt-{n:02}") for n in range(1, count + 1)]
        place = f"bench-{secrets.token_hex(4)}"  # the double remembers the secrets of every stack of this process
        credentials = [
            Credential(name, variable, model, {"store": "aws", "name": f"{place}/{name}"}) for name, variable, model in named
        ]
        super().__init__(folder, credentials, overlap, proxy="stand-in")
        self.calls, self.latencies, self._open = Calls(), latencies, ExitStack()
        self._members: list[Member] = []
        self._token = secrets.token_hex(20)

    def start_outside(self) -> None:
        """Provider, store and members."""
        organization = Organization(KeyMaterial(self.environ["OPENAI_ADMIN_KEY"]))
        organization.add_project(PROJECT)
        account = organization.add_account(PROJECT, "litellm", id=ACCOUNT)
        direct = self._served(provider(organization, Calls(), 0))
        self.provider_url = self._served(provider(organization, self.calls, self.latencies.provider))
        self.tell_provider("behaviour", models=[each.model for each in self.credentials])
        for each in self.credentials:
            made = self.tell_provider("keys", project=PROJECT, name=f"{each.name} by hand", account=account.id)
            self.first_keys[each.name] = made["value"]
        self._start_store()
        config = json.loads(write_config(self.folder / "litellm.json", self.deployments).read_text())
        config["general_settings"]["master_key"] = self.environ["LITELLM_MASTER_KEY"]
        for entry in config["model_list"]:
            entry["litellm_params"]["api_base"] = f"{direct}/v1"
        for name in ("one", "two")[: self.members]:
            member = Member(name, config, self._current, self.calls, self.latencies.canary, self.latencies.roll)
            self._open.enter_context(member.url)
            self._open.enter_context(member.control)
            self._members.append(member)

    def _start_store(self) -> None:
        double = SlowAWS(self.calls, self.latencies.store)
        self.aws_url = double.start()
        self._open.callback(double.stop)
        self._reader = boto3.client(
            "secretsmanager",
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
            config=BotoConfig(user_agent_extra=OF_A_MEMBER),
        )
        for each in self.credentials:
            self._reader.create_secret(Name=each.secret["name"], SecretString=self.first_keys[each.name])
            double.secrets[each.secret["name"]] = each.name

    def _current(self) -> Mapping[str, str]:
        return {
            each.name: str(self._reader.get_secret_value(SecretId=each.secret["name"])["SecretString"])
            for each in self.credentials
        }

    def _served(self, app: Any) -> str:
        return self._open.enter_context(LoopbackServer(app)).url

    def write_configuration(self, **settings: Any) -> None:
        super().write_configuration(**settings)
        content = json.loads(self.config.read_text())
        content["proxies"]["local"]["members"] = [
            {"url": each.url.url, "control": each.control.url} for each in self._members
        ]
        self.incidents_url = f"http://127.0.0.1:{(port := free_port())}"
        content["incidents"] = {"listen": f"127.0.0.1:{port}", "callers": {"bench": {"token": "env:BENCH_TOKEN"}}}
        self.environ["BENCH_TOKEN"] = self._token
        self.config.write_text(json.dumps(content, indent=2))

    def start_incidents(self) -> None:
        """The incident service, waiting for its first call."""
        environ = {**self.environ, "KEYTURN_ROOT": str(ROOT)}
        process = self.processes.start("incidents", installed(INCIDENTS), env=environ, cwd=ROOT)
        wait_for_http(self.incidents_url, seconds=240, process=process, accept=lambda answer: answer.status_code == 401)

    def ask_incidents(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = httpx.request(method, self.incidents_url + path, json=body, headers=headers, timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def stop(self) -> None:
        if "incidents" in self.processes.running:
            self.processes.stop("incidents", grace=30)
        super().stop()
        self._open.close()


@contextmanager
def running(folder: Path, count: int, database: Database = "postgres", overlap: str = "24h") -> Iterator[Stack]:
    """A stack of so many credentials, each with a key made by hand; Prefect's server runs on this database."""
    stack = Stack(folder, count, Latencies.of_environment(), overlap)
    try:
        stack.start_outside()
        stack.write_configuration()
        stack.start_prefect(log_level="INFO", database=database)
        yield stack
    finally:
        stack.stop()


def until_ended(ask: Any, ended: tuple[str, ...], seconds: float = 1800) -> Any:
    """`ask` for something with a `state`, until it is one of these. Every two seconds: the incident service answers 429 to
    whoever asks much oftener for minutes. When calls ended is told by the calls, so no figure depends on it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := ask())["state"] in ended:
            return found
        time.sleep(2)
    raise TimeoutError(f"not ended after {seconds:g} s")
