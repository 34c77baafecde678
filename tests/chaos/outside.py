"""The outside that all worlds share: a provider, an OpenBao, doubles of AWS and Kubernetes, and Prefect twice, all programs.

`here` is the Prefect that the process under test uses. `elsewhere` is another machine's, which knows nothing of the first:
there the product's courtesy locks protect nothing, and the store's compare-and-swap has to.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from keyturn.testing.embedded import READY_SECONDS, REGION, beside
from keyturn.testing.openbao import OpenBao
from keyturn.testing.postgres import Postgres
from keyturn.testing.processes import Processes, free_port, wait_for_http
from tests.chaos.disk import Disk
from tests.chaos.hosts import DIRECT

MODEL = "gpt-4o-mini"
NAMESPACE = "chaos"
_UNSIGNED = "AWS4-HMAC-SHA256 Credential=driver/20250101/{}/secretsmanager/aws4_request, SignedHeaders=host, Signature=none"


class PrefectServer:
    """One server over a PostgreSQL of its own. It can be killed, and started again where it was.

    Not over SQLite: with a dozen runs at once its writers wait for each other for a minute and more.
    """

    def __init__(self, processes: Processes, folder: Path, name: str) -> None:
        self.name = name
        self._processes = processes
        self._postgres: Postgres | None = None
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.environ = {
            "PREFECT_HOME": str(folder / f"prefect-{name}"),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def create_database(self) -> None:
        self._postgres = Postgres(self._processes, f"postgres-{self.name}")
        self.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = self._postgres.url

    @property
    def data(self) -> Path:
        """What its database has on disk."""
        if self._postgres is None:
            raise RuntimeError("there is no database yet")
        self._postgres.execute("CHECKPOINT")
        return self._postgres.folder / "data"

    def remove(self) -> None:
        if self._postgres is not None:
            self._postgres.remove()

    def start(self) -> subprocess.Popen[bytes]:
        program: list[str | Path] = [beside("prefect"), "server", "start", "--no-ui"]
        program += ["--host", "127.0.0.1", "--port", str(self._port)]
        return self._processes.start(f"prefect-{self.name}", program, env=self.environ)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            wait_for_http(f"{self.url}/api/health", seconds=READY_SECONDS, process=process)
        except RuntimeError as error:
            told = (self._processes.logs / f"prefect-{self.name}.log").read_text()
            raise RuntimeError(f"{error}; it said: {told[-2000:]}") from error

    def kill(self) -> None:
        process = self._processes.running[f"prefect-{self.name}"]
        process.kill()
        process.wait()


class Outside:
    """Started as a whole; `stop` ends it. `ask`: an HTTP client of the driver's own, which passes by every gate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(folder / "logs")
        self.literal = "kt" + secrets.token_hex(12)  # inside every key: what the search for leaks looks for
        self.environ = {
            "OPENAI_ADMIN_KEY": "sk-admin-" + secrets.token_hex(16),
            "LITELLM_MASTER_KEY": "sk-master-" + secrets.token_hex(16),
            "KEYTURN_CONTROL_TOKEN": secrets.token_hex(16),
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "KUBERNETES_TOKEN": secrets.token_hex(16),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.keys = Path(tempfile.mkdtemp(prefix="keyturn-chaos-"))  # dotenv files: no place to search for leaks
        self.disk = Disk()
        self.here = PrefectServer(self.processes, folder, "here")
        self.elsewhere = PrefectServer(self.processes, folder, "elsewhere")
        # No connection is kept: the double's server may close one just as it is used again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self.ask = httpx.AsyncClient(timeout=30, trust_env=False, limits=limits)

    async def start(self) -> None:
        """All at once: most of it is waiting for the two Prefects."""
        for server in (self.here, self.elsewhere):
            await asyncio.to_thread(server.create_database)
        started = [(server, server.start()) for server in (self.here, self.elsewhere)]
        self._start_provider()
        self._start_aws()
        self._start_kube()
        await self.disk.start()
        self.bao = OpenBao(self.processes, self.folder / "openbao")
        self.bao.enable_kv()
        self.bao.root.sys.enable_auth_method("approle")
        await asyncio.gather(*(asyncio.to_thread(server.wait, process) for server, process in started))
        await self.tell_provider("behaviour", key_literal=self.literal, models=[MODEL])

    async def stop(self) -> None:
        await self.ask.aclose()
        self.processes.stop()
        await self.disk.stop()
        shutil.rmtree(self.keys, ignore_errors=True)
        for server in (self.here, self.elsewhere):
            server.remove()

    def _start_provider(self) -> None:
        self.provider_port = free_port()
        self.provider_url = f"http://127.0.0.1:{self.provider_port}"
        program = [sys.executable, "-m", "keyturn.testing.openai_simulator", "--port", str(self.provider_port)]
        process = self.processes.start("provider", program, env=self.environ)
        wait_for_http(f"{self.provider_url}/_sim/health", seconds=60, process=process)

    def _start_aws(self) -> None:
        self.aws_port = free_port()
        self.aws_url = f"http://127.0.0.1:{self.aws_port}"
        process = self.processes.start(
            "aws", [sys.executable, "-m", "keyturn.testing.aws_double", "--port", str(self.aws_port)], env=self.environ
        )
        wait_for_http(f"{self.aws_url}/_double/calls", seconds=60, process=process)

    def _start_kube(self) -> None:
        self.kube_port = free_port()
        self.kube_url = f"http://127.0.0.1:{self.kube_port}"
        program = [sys.executable, "-m", "keyturn.testing.kubernetes_double", "--port", str(self.kube_port)]
        process = self.processes.start("kube", [*program, "--namespace", NAMESPACE], env=self.environ)
        wait_for_http(f"{self.kube_url}/_double/calls", seconds=60, process=process)

    @property
    def vault_port(self) -> int:
        return int(self.bao.address.rpartition(":")[2])

    # What the driver asks and does, as an operator, past every gate -------------------------------------------------

    async def tell_provider(self, what: str, **body: Any) -> Any:
        answer = await self.ask.post(f"{self.provider_url}/_sim/{what}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def provider_keys(self, **query: str | list[str]) -> list[dict[str, Any]]:
        """Keys as the provider knows them: by `project`, or by one or more `fingerprint`s."""
        answer = await self.ask.get(f"{self.provider_url}/_sim/keys", params=query)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    async def vault(self, method: str, path: str, **body: Any) -> Any:
        """A call with the root token; None for 404."""
        answer = await self.ask.request(
            method, f"{self.bao.address}/v1/{path}", headers={"X-Vault-Token": self.bao.root.token}, json=body or None
        )
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    async def aws(self, operation: str, **body: Any) -> Any:
        """A call of Secrets Manager; None for a refusal. (The double checks no signature.)"""
        headers = {
            "X-Amz-Target": f"secretsmanager.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": _UNSIGNED.format(REGION),
        }
        answer = await self.ask.post(self.aws_url, headers=headers, content=json.dumps(body))
        if answer.status_code == 400:
            return None
        answer.raise_for_status()
        return answer.json()

    async def kube(self, method: str, path: str, **body: Any) -> Any:
        """A call about the Secrets of the one namespace, as the administrator; None for 404."""
        answer = await self.ask.request(
            method,
            f"{self.kube_url}/api/v1/namespaces/{NAMESPACE}/secrets{path}",
            headers={"Authorization": f"Bearer {self.environ['KUBERNETES_TOKEN']}"},
            json=body or None,
        )
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def worker_environ(self) -> dict[str, str]:
        """What a worker is given beside its gate and its Prefect."""
        return {**self.environ, "NO_PROXY": f"{DIRECT},localhost,.outside", "no_proxy": f"{DIRECT},localhost,.outside"}
