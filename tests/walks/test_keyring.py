"""KeyRing: a program that embeds the real LiteLLM is rolled and proved like a proxy, under its own traffic.

What docs/keyring.md tells, with real parts: LiteLLM in its own environment, Prefect, the simulator of OpenAI, the double of
AWS Secrets Manager. The program has no proxy and is never restarted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.testing.embedded import AWS, READY_SECONDS
from keyturn.testing.leaks import Needles, in_folder
from keyturn.testing.litellm import executable
from keyturn.testing.processes import free_port, wait_for_http
from tests.e2e.conftest import ROOT, Installation

pytestmark = pytest.mark.real

OVERLAP = 3  # seconds
WAYS = {"get", "credential", "environment", "router"}
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MODE": "PRODUCTION"}


class Embedding(Installation):
    """An installation whose only member is a program with a key ring."""

    def start_program(self) -> None:
        self.control = f"http://127.0.0.1:{free_port()}"
        self.report = self.folder / "program.json"
        config = json.loads(self.config.read_text())
        config["proxies"] = {
            "embedded": {
                "kind": "process",
                "members": [{"url": self.control, "control": self.control}],
                "control_token": "env:KEYTURN_CONTROL_TOKEN",
                "master_key": "env:LITELLM_MASTER_KEY",
            }
        }
        for credential in config["credentials"].values():
            credential |= {"env": "OPENAI_API_KEY", "proxies": ["embedded"], "overlap": f"{OVERLAP}s"}
            credential["canary"]["proxy"] = "embedded"
        self.config.write_text(json.dumps(config, indent=2))
        program: list[str | Path] = [executable().parent / "python", ROOT / "tests" / "walks" / "embedding_program.py"]
        program += [f"{self.provider_url}/v1", AWS.model, self.control, self.report]
        path = f"{ROOT}:{self._beside_litellm()}"
        process = self.processes.start("program", program, env={**self.environ, **OFFLINE, "PYTHONPATH": path})
        wait_for_http(f"{self.control}/health/readiness", seconds=READY_SECONDS, process=process)

    def _beside_litellm(self) -> Path:
        """What keyturn needs and LiteLLM's environment has not; installing keyturn there would bring it."""
        import cronsim

        folder = self.folder / "beside-litellm"
        folder.mkdir()
        (folder / "cronsim").symlink_to(Path(cronsim.__file__).parent)
        return folder

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report.read_text())
        return found

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.report.exists() and holds(seen := self.seen()):
                return seen
            time.sleep(0.1)
        raise AssertionError(f"{what} has not happened: {self.seen()}")

    def all_served_by(self, fingerprint: str) -> dict[str, Any]:
        return self.until(
            f"{fingerprint} answering everybody",
            lambda seen: {each["last"] for each in seen["callers"].values()} == {fingerprint},
        )


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedding]:
    parts = Embedding(tmp_path_factory.mktemp("embedding"), credentials=(AWS,), members=0)
    try:
        parts.start_provider()
        parts.start_aws()
        parts.write_configuration()
        parts.start_prefect()
        parts.start_program()
        yield parts
    finally:
        parts.stop()


def test_an_embedding_program_takes_the_new_key_under_traffic_and_the_old_one_is_revoked(embedding: Embedding) -> None:
    old = embedding.fingerprint(AWS)
    assert set(embedding.all_served_by(old)["callers"]) == WAYS

    rotated = embedding.rotate_json(AWS)
    new = embedding.fingerprint(AWS)
    assert new != old
    proved = [line["sentence"] for line in rotated["timeline"] if line["step"] == "prove"]
    member = embedding.control.removeprefix("http://")
    assert any(line.startswith(f"embedded/{member}: serves the current key; the provider answered") for line in proved), (
        proved
    )
    embedding.all_served_by(new)

    deadline = time.monotonic() + READY_SECONDS
    while {key["fingerprint"] for key in embedding.live_keys(AWS)} != {new}:
        assert time.monotonic() < deadline
        code, out = embedding.keyturn("retire", AWS.name)
        time.sleep(0.5)
    assert code == 0, out
    after = {way: sum(each["served"].values()) for way, each in embedding.seen()["callers"].items()}
    seen = embedding.until(
        "more calls of each kind",
        lambda seen: all(sum(each["served"].values()) >= after[way] + 20 for way, each in seen["callers"].items()),
    )
    assert [each["failures"] for each in seen["callers"].values()] == [{}] * len(WAYS)
    assert all(set(each["served"]) == {old, new} for each in seen["callers"].values())
    assert seen["ring"]["keys"]["OPENAI_API_KEY"]["swaps"] == 1
    calls = embedding.ask_provider("log")["keys"]
    assert calls[old]["rejected"] <= 2, "by keyturn's own check that it is refused, and by nobody else"
    assert calls[new]["rejected"] == 0


def test_it_goes_on_while_the_store_is_down(embedding: Embedding) -> None:
    new = embedding.fingerprint(AWS)
    embedding.processes.stop("aws")
    code, out = embedding.keyturn("rotate", AWS.name)
    assert code != 0, out
    after = {way: sum(each["served"].values()) for way, each in embedding.seen()["callers"].items()}
    seen = embedding.until(
        "more calls of each kind",
        lambda seen: all(sum(each["served"].values()) >= after[way] + 20 for way, each in seen["callers"].items()),
    )
    assert [each["failures"] for each in seen["callers"].values()] == [{}] * len(WAYS)
    assert {each["last"] for each in seen["callers"].values()} == {new}


def test_no_key_is_in_any_file_of_it(embedding: Embedding) -> None:
    """The last one: the program has ended, and written what it had to write."""
    embedding.processes.stop("program")
    assert "has turned" in (embedding.folder / "logs" / "program.log").read_text()
    assert in_folder(Needles(embedding.secrets), embedding.folder) == []
