"""One installation for all end-to-end tests: real Prefect, OpenBao and AWS double, stand-ins for the proxies."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import Credential, Embedded, keyturn_program
from tests.e2e.prefect_api import Prefect

ROOT = Path(__file__).parent.parent.parent


class Installation(Embedded):
    """The embedded parts, with the commands of the terminal and the questions that the tests ask."""

    def keyturn(self, *words: str, env: Mapping[str, str] | None = None, config: Path | None = None) -> tuple[int, str]:
        """Run a command; its exit code, and what it printed: its errors too, unless it succeeded."""
        environ = {**os.environ, **self.environ, "COLUMNS": "200", **(env or {})}
        if config is not None:
            environ["KEYTURN_CONFIG"] = str(config)
        done = subprocess.run(
            [keyturn_program(), *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        with (self.folder / "logs" / "commands.log").open("a") as log:
            log.write(f"$ {words}\n{done.stdout}{done.stderr}\n")
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")

    def rotate_json(self, credential: Credential, *words: str) -> dict[str, Any]:
        """A rotation that must succeed."""
        code, out = self.keyturn("rotate", credential.name, "--json", *words)
        assert code == 0, out
        found: dict[str, Any] = json.loads(out)
        return found

    def status_json(self, credential: Credential) -> dict[str, Any]:
        """Where one credential stands; nothing may be unseen."""
        code, out = self.keyturn("status", credential.name, "--json")
        assert code == 0, out
        found: dict[str, Any] = json.loads(out)[credential.name]
        return found

    def member_status(self, n: int) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.environ['KEYTURN_CONTROL_TOKEN']}"}
        url = f"http://{self.address(n)}:{self.control_port}/v1/status"
        found: dict[str, Any] = httpx.get(url, headers=headers, timeout=10, trust_env=False).json()
        return found

    def rolls(self) -> list[int]:
        return [self.member_status(n)["rolls"] for n in range(self.members)]

    def live_keys(self, credential: Credential) -> list[dict[str, Any]]:
        """The keys of one credential that the provider accepts: its first one, and those made for it."""
        first = KeyMaterial(self.first_keys[credential.name]).fingerprint()
        return [
            key
            for key in self.provider_keys()
            if key["accepted"] and (key["fingerprint"] == first or key["name"].startswith(f"keyturn-{credential.name}-"))
        ]

    def made(self, credential: Credential) -> int:
        """How many keys were ever made for it."""
        return sum(key["name"].startswith(f"keyturn-{credential.name}-") for key in self.provider_keys())

    def chat(self, url: str, credential: Credential, key: str | None = None) -> int:
        """The status of one chat completion, with the proxies' master key unless told otherwise."""
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": credential.model, "messages": [{"role": "user", "content": "hello"}]},
            headers={"Authorization": f"Bearer {key or self.environ['LITELLM_MASTER_KEY']}"},
            timeout=30,
            trust_env=False,
        )
        return answer.status_code

    def fingerprint(self, credential: Credential) -> str:
        return KeyMaterial(self.current(credential)).fingerprint()

    def forget_faults(self) -> None:
        httpx.delete(f"{self.provider_url}/_sim/faults", timeout=30, trust_env=False).raise_for_status()

    def edited(self, name: str, *edits: tuple[str, str]) -> Path:
        """A copy of keyturn.yaml with texts replaced."""
        text = self.config.read_text()
        for was, now in edits:
            assert was in text, was
            text = text.replace(was, now)
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return path


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    parts = Installation(tmp_path_factory.mktemp("installation"), overlap="0s", proxy="stand-in")
    try:
        parts.start_provider()
        parts.start_vault()
        parts.start_aws()
        parts.write_configuration()
        parts.start_members(drain="0s")
        parts.start_prefect()
        yield parts
    finally:
        parts.stop()


@pytest.fixture(scope="module")
def prefect(installation: Installation) -> Iterator[Prefect]:
    """Prefect's API, with a worker that runs what is asked for."""
    installation.start_worker(ROOT)
    yield Prefect(installation)
    installation.processes.stop("worker")
