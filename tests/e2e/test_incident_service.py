"""From a report over HTTP to the old key refused: `keyturn incidents serve` as a program, beside a real Prefect server."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.testing.embedded import AWS, VAULT, keyturn_program
from keyturn.testing.leaks import Needles, in_folder
from keyturn.testing.processes import free_port
from tests.e2e.conftest import ROOT, Installation
from tests.e2e.prefect_api import until

pytestmark = pytest.mark.real

TOKEN = secrets.token_hex(20)


class Service:
    """The program, and what a caller says to it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        content = json.loads(installation.config.read_text())
        content["incidents"] = {"listen": f"127.0.0.1:{port}", "callers": {"on-call": {"token": "env:INCIDENT_TOKEN"}}}
        self.config = installation.folder / "incidents.yaml"
        self.config.write_text(json.dumps(content))

    def start(self) -> None:
        environ = {**self.installation.environ, "KEYTURN_CONFIG": str(self.config), "KEYTURN_ROOT": str(ROOT)}
        environ |= {"INCIDENT_TOKEN": TOKEN, "PREFECT_LOGGING_LEVEL": "DEBUG"}
        process = self.installation.processes.start(
            "incidents", [keyturn_program(), "incidents", "serve"], env=environ, cwd=ROOT
        )

        def listens() -> bool | None:
            assert process.poll() is None, "it ended"
            try:
                return httpx.get(self.url, trust_env=False).status_code == 401 or None
            except httpx.TransportError:
                return None

        until(listens)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=60, trust_env=False)

    def ended(self, address: str) -> Any:
        def look() -> Any:
            told = self.ask("GET", address).json()
            return told if told["state"] in ("done", "failed", "cancelled") else None

        return until(look)


@pytest.fixture(scope="module")
def service(installation: Installation) -> Iterator[Service]:
    found = Service(installation)
    found.start()
    yield found
    installation.processes.stop("incidents")


def test_a_leaked_key_that_is_posted_is_refused_and_its_text_is_nowhere(
    service: Service, installation: Installation
) -> None:
    leaked, made = installation.current(VAULT), installation.made(VAULT)
    strange = "sk-" + secrets.token_hex(24)
    answers = [service.ask("POST", "/incidents", {"key": strange}), service.ask("POST", "/incidents", {strange: strange})]
    assert [answer.status_code for answer in answers] == [404, 400]

    first = service.ask("POST", "/incidents", {"key": leaked})
    again = service.ask("POST", "/incidents", {"sha256": hashlib.sha256(leaked.encode()).hexdigest()})
    answers += [first, again]
    assert [answer.status_code for answer in (first, again)] == [202, 202]
    assert first.json()["id"] == again.json()["id"]
    told = service.ended(first.json()["address"])
    assert told["state"] == "done"
    assert told["credentials"] == [VAULT.name]

    assert installation.current(VAULT) != leaked
    assert [key["fingerprint"] for key in installation.live_keys(VAULT)] == [installation.fingerprint(VAULT)]
    assert installation.made(VAULT) == made + 1, "the same leak twice is one rotation"
    assert service.ask("GET", first.json()["address"]).json()["id"] == first.json()["id"]

    needles = Needles([leaked, strange])
    assert sum(needles.count(f"{answer.text} {answer.headers}".encode()) for answer in answers) == 0
    assert [leak for leak in in_folder(needles, installation.folder) if _is_ours(leak.place)] == []


def _is_ours(place: str) -> bool:
    """Prefect's files and every log. The provider and the stores have their keys."""
    return "prefect" in place or ".log" in place


def test_a_service_that_is_killed_goes_on_at_its_next_start(service: Service, installation: Installation) -> None:
    old = installation.fingerprint(AWS)
    run = service.ask("POST", "/incidents", {"credential": AWS.name}).json()
    installation.processes.running["incidents"].kill()
    installation.processes.stop("incidents")
    service.start()
    assert service.ended(run["address"])["state"] == "done"
    assert not any(key["accepted"] for key in installation.provider_keys() if key["fingerprint"] == old)
    assert len(installation.live_keys(AWS)) == 1


def test_the_programs_log_says_who_reported_and_nothing_else(service: Service, installation: Installation) -> None:
    log = Path(installation.processes.logs / "incidents.log").read_text()
    assert "on-call reported a leak: run " in log
    assert TOKEN not in log
