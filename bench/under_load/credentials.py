"""The kind `litellm_credentials`: LiteLLM proxies whose key is in a table that they share, behind Caddy, which asks them.

By keyturn: one PATCH, and none restarts; the key's store is a Vault server. The table is a file in the place of LiteLLM's
database, all else is LiteLLM (tests/inside_litellm/with_a_table.py). Each reads it every 30 s, as LiteLLM's scheduler does.

As without it the same proxies have their key in the environment, for that is what one has who does not write into LiteLLM's
database. Somebody writes the new key there, and restarts them: `blind` all at once, `undrained` one after the other.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from bench.under_load.fleet import Way
from bench.under_load.process import NOTICED, ByHand, Processes
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import READY_SECONDS, VAULT
from keyturn.testing.litellm import command, executable, write_config
from keyturn.testing.processes import wait_for_http

PROGRAM = Path(__file__).parent.parent.parent / "tests" / "inside_litellm" / "with_a_table.py"
NAME = "OpenAI (prod)"
READ_SECONDS = 30.0  # LiteLLM's proxy_config_reload_interval_seconds
SETTLE = "45s"  # the fleet's own setting, as it is unless told otherwise
_ANSWER = 60.0  # seconds


def fleet(folder: Path, way: Way, members: int) -> InTheTable | ByHand:
    return (InTheTable if way is Way.KEYTURN else ByHand)(folder, way, members)


class InTheTable(Processes):
    """Moved by keyturn."""

    def start(self) -> None:
        self._over = threading.Event()
        self.start_provider()
        self.parts.start_vault()
        self.parts.write_configuration()
        self._write_fleet()
        started = [self._started(n, self._configuration()) for n in range(self.parts.members)]
        for url, process in zip(self.parts.member_urls, started, strict=True):
            wait_for_http(f"{url}/health/readiness", seconds=READY_SECONDS, process=process)
        self._create()
        self._read_all()
        self._reading = threading.Thread(target=self._read_on)
        self._reading.start()
        self.parts.start_balancer(supervised=False, keep_alive=True)
        time.sleep(NOTICED)

    def stop(self) -> None:
        self._over.set()
        if hasattr(self, "_reading"):
            self._reading.join()
        super().stop()

    def _configuration(self) -> Path:
        """The deployments name the credential, and have no key and no address beside it."""
        path = write_config(self.parts.folder / "litellm.json", self.parts.deployments)
        document = json.loads(path.read_text())
        for each in document["model_list"]:
            each["litellm_params"] = {"model": each["litellm_params"]["model"], "litellm_credential_name": NAME}
        path.write_text(json.dumps(document))
        return path

    def _started(self, n: int, config: Path) -> Any:
        how = command(config, self.parts.proxy_port, KeyMaterial(self.master_key))
        words = [self.parts.address(n) if word == "127.0.0.1" else word for word in how.argv[1:]]
        table = self.parts.folder / "table.json"
        if n == 0:
            table.write_text("{}")
        environ = {**how.env, **self.parts.loopback, "TABLE": str(table), "LITELLM_SALT_KEY": "salt"}
        program: list[str | Path] = [executable().parent / "python", PROGRAM, *words]
        return self.parts.processes.start(f"member-{n + 1}", program, env=environ)

    def _create(self) -> None:
        values = {"api_key": self.parts.first_keys[VAULT.name], "api_base": f"{self.parts.provider_url}/v1"}
        body = {"credential_name": NAME, "credential_values": values, "credential_info": {"custom_llm_provider": "openai"}}
        self._post(self.parts.member_urls[0], "/credentials", body)

    def _read_on(self) -> None:
        while not self._over.wait(READ_SECONDS):
            with suppress(httpx.HTTPError):  # the next one comes
                self._read_all()

    def _read_all(self) -> None:
        for url in self.parts.member_urls:
            self._post(url, "/_test/read", {})

    def _post(self, url: str, path: str, body: Any) -> None:
        headers = {"Authorization": f"Bearer {self.master_key}"}
        httpx.post(f"{url}{path}", json=body, headers=headers, timeout=_ANSWER, trust_env=False).raise_for_status()

    def _write_fleet(self) -> None:
        content = json.loads(self.parts.config.read_text())
        content["proxies"]["local"] = {
            "kind": "litellm_credentials",
            "members": self.parts.member_urls,
            "names": {VAULT.name: NAME},
            "settle": SETTLE,
            "master_key": "env:LITELLM_MASTER_KEY",
        }
        self.parts.config.write_text(json.dumps(content))
