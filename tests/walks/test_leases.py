"""Tokens that live for seconds, renewed under traffic: in files that the real LiteLLM reads, and by restarts in turn."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.testing.embedded import Credential
from keyturn.testing.leaks import descendants
from keyturn.testing.litellm import file_reader
from keyturn.testing.loopback import LoopbackServer
from tests.delivery.supervised import until
from tests.walks.cloud import Cloud
from tests.walks.walk import Walk, Way

pytestmark = pytest.mark.real

AZURE = Credential("azure", "AZURE_AD_TOKEN", "gpt-4o-mini", {})


class Leasing(Walk):
    """Two members that have a lease, and no key at all."""

    def start_cloud(self, life: int) -> Cloud:
        self.environ["ENTRA_SECRET"] = f"{self.own_literal}-{secrets.token_hex(16)}"
        return Cloud(life, self.environ["ENTRA_SECRET"], self.literal)

    def write_leases(self, url: str, **settings: Any) -> None:
        self.provider_url = f"{url}/openai"
        members = [{"url": each, "control": self.control(n)} for n, each in enumerate(self.member_urls)]
        lease = {
            "kind": "azure_token",
            "tenant": "contoso",
            "client_id": "litellm",
            "client_secret": "env:ENTRA_SECRET",
            "login_url": url,
            "proxies": ["local"],
            **settings,
        }
        proxies = {"local": {"kind": "process", "members": members, "master_key": "env:LITELLM_MASTER_KEY"}}
        self.config.write_text(json.dumps({"proxies": proxies, "leases": {"azure": lease}}))

    def statuses(self) -> list[dict[str, Any]]:
        return [self.member_status(n) for n in range(self.members)]


@pytest.fixture
def leasing(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leasing]:
    walk = Leasing(tmp_path / "walk", (AZURE,), proxy=request.param)
    yield walk
    walk.stop()


@pytest.mark.parametrize("leasing", ["litellm"], indirect=True)
async def test_litellm_reads_each_new_token_and_no_request_fails(leasing: Leasing, tmp_path: Path) -> None:
    folders = [tmp_path / f"keys-{n + 1}" for n in range(leasing.members)]
    cloud = leasing.start_cloud(life=16)
    with LoopbackServer(cloud.app()) as running:
        leasing.write_leases(running.url, least_left="2s")
        ways = [
            Way(
                ("--deliver", "file", "--keys-folder", folder),
                f"oidc/file/{folder}/{{variable}}",
                file_reader(),
            )
            for folder in folders
        ]
        leasing.start_proxies(ways)
        pids = leasing.pids()
        async with leasing.under_traffic():
            begun = cloud.given
            await until(lambda: cloud.given >= begun + 8, 240)
        assert cloud.refused == []
        assert len(cloud.calls) >= 8, "each of them was used"
        for status in leasing.statuses():
            assert (status["starts"], status["state"]) == (1, "serving")
            assert status["leases"]["azure"]["failure"] == ""
        assert leasing.pids() == pids

        code, told = leasing.keyturn("status")
        assert code == 0, told
        assert told.count("azure_token") == leasing.members
        code, told = leasing.keyturn("doctor", "--json")
        rows = json.loads(told)
        assert {row["what"]: row["ok"] for row in rows if row["of"] == "azure"} == {
            "a token is given": True,
            **{f"local/{url.removeprefix('http://')}: token": True for url in leasing.member_urls},
        }
        assert leasing.leaks() == []
        for pid in pids:
            for each in (pid, *descendants(pid)):
                environment = Path(f"/proc/{each}/environ").read_bytes()
                assert leasing.environ["ENTRA_SECRET"].encode() not in environment
                assert leasing.literal.encode() not in environment
        leasing.processes.stop("member-1")
        assert list(folders[0].iterdir()) == []


@pytest.mark.parametrize("leasing", ["stand-in"], indirect=True)
async def test_members_restart_before_the_end_one_at_a_time_and_no_request_fails(leasing: Leasing) -> None:
    cloud = leasing.start_cloud(life=100)
    with LoopbackServer(cloud.app()) as running:
        leasing.write_leases(running.url, least_left="2s", refresh_before="90s")
        options = ("--grace", "5s", "--start-timeout", "20s")
        leasing.start_proxies([Way(options) for _ in range(leasing.members)], drain="2s")
        most_down, stopped = 0, asyncio.Event()

        async def watch() -> None:
            nonlocal most_down
            while not stopped.is_set():
                states = [each["state"] for each in await asyncio.to_thread(leasing.statuses)]
                most_down = max(most_down, sum(state != "serving" for state in states))
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        async with leasing.under_traffic():
            await until(lambda: all(each["starts"] >= 2 for each in leasing.statuses()), 240)
        stopped.set()
        await watching
        assert most_down == 1
        assert cloud.refused == []
        assert all(each["last_error"] == "" for each in leasing.statuses())
        assert leasing.leaks() == []
