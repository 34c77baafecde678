"""An installation to walk through: provider, store and members as the way has them, and what is seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keyturn.demo import run as demo
from keyturn.demo.traffic import Traffic
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import Credential, Embedded, keyturn_program
from keyturn.testing.litellm import Deployment, command, executable, write_config
from keyturn.testing.processes import wait_for_http

ROOT = Path(__file__).parent.parent.parent

# How long a program may take to start that has not ended: LiteLLM was seen to take 160 s, beside thirty busy programs.
START_SECONDS = 600


@dataclass(frozen=True)
class Way:
    """How one member is started.

    `options`: further ones of `keyturn exec`. `api_key`: what LiteLLM's configuration says, with `{variable}` in it.
    `litellm`: the program, where it is another. `lacks`: variables of the installation that the member is not given.
    `api_base`: what it calls in place of the provider. `address`: where the provider sees it call from; "": loopback.
    """

    options: Sequence[str | Path] = ()
    api_key: str = "os.environ/{variable}"
    litellm: Path | None = None
    lacks: Collection[str] = ()
    api_base: str = ""
    address: str = ""


class Walk(Embedded):
    """The embedded parts, without a Prefect server: each command brings its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # On a busy machine no supervisor may have answered its health check in time for ten seconds.
        self.balancer_tries = "60s"
        self.environ |= {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Its database is made anew in each walk: seen to take more than the usual two minutes on a busy machine.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(START_SECONDS),
        }

    # Members --------------------------------------------------------------------------------------------------------

    def start_proxies(self, ways: Sequence[Way], drain: str = "3s") -> None:
        """A member for each way, started together, and the balancer in front of them."""
        started = [self.start_proxy(n, way, drain) for n, way in enumerate(ways)]
        for n, process in enumerate(started):
            wait_for_http(f"{self.control(n)}/health/readiness", seconds=START_SECONDS, process=process)
        self.start_balancer()

    def start_proxy(self, n: int, way: Way, drain: str = "3s") -> subprocess.Popen[bytes]:
        deployments = [
            Deployment(
                f"{each.name}-1",
                way.api_base or f"{self.provider_url}/v1",
                each.model,
                each.variable,
                f"openai/{each.model}",
                {"api_key": way.api_key.format(variable=each.variable)}
                | ({"extra_headers": {"X-Forwarded-For": way.address}} if way.address else {}),
            )
            for each in self.credentials
        ]
        config = write_config(self.folder / f"litellm-{n + 1}.json", deployments)
        program: list[str | Path] = [keyturn_program(), "exec", "--proxy", "local", "--drain", drain]
        program += ["--start-timeout", f"{START_SECONDS}s", *way.options, "--control", self.control(n), "--"]
        environ = {**self.environ, **dict.fromkeys(way.lacks, "")}
        if self.proxy == "litellm":
            master_key = KeyMaterial(self.environ["LITELLM_MASTER_KEY"])
            how = command(config, self.proxy_port, master_key, way.litellm or executable())
            program += [self.address(n) if word == "127.0.0.1" else word for word in how.argv]
            environ = {**how.env, **environ}
        else:
            program += [sys.executable, "-m", "keyturn.testing.stand_in", "--config", config]
            program += ["--host", self.address(n), "--port", str(self.proxy_port)]
        return self.processes.start(f"member-{n + 1}", program, env=environ)

    def control(self, n: int) -> str:
        return f"http://{self.address(n)}:{self.control_port}"

    def member_status(self, n: int) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.environ['KEYTURN_CONTROL_TOKEN']}"}
        found: dict[str, Any] = httpx.get(
            f"{self.control(n)}/v1/status", headers=headers, timeout=10, trust_env=False
        ).json()
        return found

    def pids(self) -> list[int]:
        """The proxies' process ids."""
        return [self.member_status(n)["pid"] for n in range(self.members)]

    # Rotation -------------------------------------------------------------------------------------------------------

    def keyturn(self, *words: str) -> tuple[int, str]:
        """Run a command as a user does; its exit code, and what it printed: its errors too, unless it succeeded."""
        done = subprocess.run(
            [keyturn_program(), *words],
            cwd=ROOT,
            env={**os.environ, **self.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        with (self.folder / "logs" / "commands.log").open("a") as log:
            log.write(f"$ {words}\n{done.stdout}{done.stderr}\n")
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")

    async def rotate(self, credential: Credential) -> tuple[str, str]:
        """Rotate until the old key is refused; the fingerprints of the old key and of the new one."""
        old = self.fingerprint(credential)
        code, out = await asyncio.to_thread(self.keyturn, "rotate", credential.name, "--json", "--wait")
        assert code == 0, out
        new = self.fingerprint(credential)
        assert json.loads(out)["result"]
        assert new != old
        accepted = {key["fingerprint"]: key["accepted"] for key in self.provider_keys()}
        assert (accepted[old], accepted[new]) == (False, True)
        return old, new

    def fingerprint(self, credential: Credential) -> str:
        """Of the store's current key."""
        return KeyMaterial(self.current(credential)).fingerprint()

    # What is seen ---------------------------------------------------------------------------------------------------

    def on_the_wire(self, credential: Credential) -> list[str]:
        """The fingerprint of the key that the provider sees in a call through each member."""
        return [self._served_by(url, credential) for url in self.member_urls]

    def _served_by(self, url: str, credential: Credential) -> str:
        body = {"model": credential.model, "messages": [{"role": "user", "content": os.urandom(8).hex()}]}
        headers = {"Authorization": f"Bearer {self.environ['LITELLM_MASTER_KEY']}"}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"]).removeprefix("served-by ")

    @asynccontextmanager
    async def under_traffic(self, least: int = 60) -> AsyncIterator[Traffic]:
        """Traffic through the balancer while the block runs, and `least` requests after it. None of all may fail."""
        async with demo.traffic(self) as flow:
            await flow.until(10)
            yield flow
            await flow.until(flow.requests + least)
        assert dict(flow.failures) == {}, f"of {flow.requests} requests failed: {dict(flow.failures)}"
        assert flow.streamed > 0

    def leaks(self) -> list[Any]:
        """Key text in a file of the installation, or in a process that is no proxy."""
        return demo.leaks(self)
