"""What the LiteLLM under test can do is what its line in docs/compatibility.md says."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.material import KeyMaterial
from keyturn.testing import litellm
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import OpenAISimulator
from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.world import new_key

pytestmark = pytest.mark.compat

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"
STREAM = 8.0  # seconds


@dataclass
class Proxy:
    url: str
    master: KeyMaterial
    provider: Organization
    process: subprocess.Popen[bytes]
    key_file: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.master.reveal()}"}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={**self.headers, **headers}, trust_env=False, timeout=60)

    def call(self, model: str) -> str:
        """The fingerprint of what the provider was sent as the key."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "num_retries": 0}
        httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=self.headers, trust_env=False, timeout=60)
        return self.provider.calls[-1].fingerprint


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("compat")
    provider, master, processes = Organization(new_key()), new_key(), Processes(folder)
    provider.add_project("proj")
    provider.behaviour = provider.behaviour.model_copy(update={"stream_chunks": 9, "stream_gap": STREAM / 8})
    loaded = provider.add_key("proj", "loaded")[1]
    with OpenAISimulator(provider) as upstream:
        deployments = [
            litellm.Deployment("plain", upstream.base_url, "plain"),
            litellm.Deployment("filed", upstream.base_url, "filed", params={"api_key": f"oidc/file/{folder / 'key'}"}),
        ]
        general = {"enable_drain_endpoint": True, "drain_endpoint_token": "token"}
        config = litellm.write_config(folder / "config.yaml", deployments, general_settings=general)
        (folder / "key").write_text("none")
        how = litellm.command(config, free_port(), master)
        env = {**how.env, litellm.KEY_VARIABLE: loaded.reveal(), "LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS": str(folder)}
        process = processes.start("litellm", how.argv, env=env, cwd=folder)
        url = f"http://127.0.0.1:{how.argv[-1]}"
        try:
            wait_for_http(f"{url}/health/readiness", seconds=litellm.READY_SECONDS, process=process)
            yield Proxy(url, master, provider, process, folder / "key")
        finally:
            processes.stop()


def row(version: str) -> dict[str, str]:
    """What the page says of a version, by column."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    names = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if re.fullmatch(rf"{re.escape(version)}( .*)?", cells[0]):
            return dict(zip(names, cells, strict=True))
    raise AssertionError(f"no line for {version}")


def test_the_version_is_on_the_page_and_can_do_what_that_says(proxy: Proxy) -> None:
    version = str(proxy.get("/health/readiness/details").json()["litellm_version"])
    told, found = row(version), asyncio.run(_found(proxy))
    assert {name: told[name] for name in found} == found


async def _found(proxy: Proxy) -> dict[str, Any]:
    found = {"`oidc/file` at each request": _reads_files(proxy)}
    stream = await _begun(proxy)
    # The drain blocks until the stream is over, so it is asked beside it.
    drain = asyncio.create_task(asyncio.to_thread(proxy.get, "/health/drain", **{"X-Drain-Token": "token"}))
    ready, over = 200, False
    while ready == 200 and not over:
        over = stream.done() and drain.done()  # readiness is asked once more then: the drain may have come late
        ready = (await asyncio.to_thread(proxy.get, "/health/readiness")).status_code
    found["`/health/drain`"] = "yes" if ready == 503 else "no"
    await stream
    await drain
    again = await _begun(proxy)
    proxy.process.send_signal(signal.SIGTERM)
    finished = await again
    code = await asyncio.to_thread(proxy.process.wait, 60)
    found["a stream of 8 s outlives SIGTERM"] = f"{'yes' if finished else 'no'}, exit {code}"
    return found


async def _begun(proxy: Proxy) -> asyncio.Task[bool]:
    """A stream whose first part has come."""
    first = asyncio.Event()
    stream = asyncio.create_task(_stream(proxy, first))
    await first.wait()
    return stream


def _reads_files(proxy: Proxy) -> str:
    keys = [proxy.provider.add_key("proj", name)[1] for name in ("first", "second")]
    seen = []
    for key in keys:
        whole = proxy.key_file.with_name("whole")
        whole.write_text(key.reveal())
        whole.replace(proxy.key_file)
        seen.append(proxy.call("filed"))
    return "yes" if seen == [key.fingerprint() for key in keys] else "no"


async def _stream(proxy: Proxy, first: asyncio.Event) -> bool:
    """Whether it came to its end. `first` is set at its first part, or where there is none."""
    body = {"model": "plain", "messages": [{"role": "user", "content": "hi"}], "stream": True, "num_retries": 0}
    lines: list[str] = []
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as client,
            client.stream("POST", f"{proxy.url}/v1/chat/completions", json=body, headers=proxy.headers) as answer,
        ):
            async for line in answer.aiter_lines():
                lines.append(line)
                first.set()
    except httpx.HTTPError:
        return False
    finally:
        first.set()
    return "data: [DONE]" in lines
