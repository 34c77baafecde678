"""The demo itself: start everything, send traffic, rotate twice, look for what should not be there, report."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from keyturn.demo.prefect_api import TERMINAL, PrefectAPI
from keyturn.demo.traffic import Traffic
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import Credential, Embedded
from keyturn.testing.leaks import Leak, Needles, descendants, in_folder, in_processes

ROTATION_SECONDS = 420
LEAST_REQUESTS = 500

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation as it was seen from outside."""

    store: str
    old_key_refused: bool
    steps: dict[str, float]
    seconds: float


@dataclass
class Report:
    """What `report.json` holds."""

    requests: int = 0
    failed: int = 0
    strays: int = 0
    leaked_bytes: int = 0
    rotations: list[Rotation] = field(default_factory=list)
    streamed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    leaks: list[Leak] = field(default_factory=list)
    request_p50_seconds: float = 0.0
    request_p99_seconds: float = 0.0

    @property
    def good(self) -> bool:
        refused = [rotation.old_key_refused for rotation in self.rotations]
        return len(refused) == 2 and all(refused) and not (self.failed or self.strays or self.leaked_bytes)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def start(parts: Embedded, root: Path, say: Say) -> None:
    """Start every part. RuntimeError names the one that does not come up; its log is in the demo's folder."""
    steps: list[tuple[str, Callable[[], None]]] = [
        ("an OpenAI simulator, with two keys made by hand", parts.start_provider),
        ("OpenBao, a server of the Vault API", parts.start_vault),
        ("a double of AWS Secrets Manager", parts.start_aws),
        ("keyturn.yaml", parts.write_configuration),
        ("two LiteLLM proxies, each under `keyturn exec`", parts.start_members),
        ("a load balancer", parts.start_balancer),
        ("Prefect's server", parts.start_prefect),
        ("`keyturn serve`", lambda: parts.start_worker(root)),
    ]
    for what, step in steps:
        begun = time.monotonic()
        step()
        say("start", f"{what} ({time.monotonic() - begun:.1f} s)")


async def rotate_all(parts: Embedded, say: Say, least_requests: int = LEAST_REQUESTS) -> Report:
    """Both rotations under traffic, then the search for what should not be there."""
    report = Report()
    async with traffic(parts) as flow:
        await asyncio.sleep(3)
        for credential in parts.credentials:
            report.rotations.append(await rotate(parts, credential, say))
        await flow.until(least_requests)
    report.requests, report.failed, report.streamed = flow.requests, flow.failed, flow.streamed
    report.failures = dict(flow.failures)
    ordered = sorted(flow.seconds)
    report.request_p50_seconds = round(ordered[len(ordered) // 2], 3)
    report.request_p99_seconds = round(ordered[int(len(ordered) * 0.99)], 3)
    report.strays = strays(parts)
    await settled(parts.folder / "prefect")
    report.leaks = await asyncio.to_thread(leaks, parts)
    report.leaked_bytes = sum(leak.bytes_found for leak in report.leaks)
    return report


@asynccontextmanager
async def traffic(parts: Embedded) -> AsyncIterator[Traffic]:
    """Traffic on both keys through the balancer, while the block runs."""
    models = [each.model for each in parts.credentials]
    flow = Traffic(parts.balancer_url, parts.environ["LITELLM_MASTER_KEY"], models)
    running = asyncio.create_task(flow.run())
    try:
        yield flow
    finally:
        flow.stop()
        await running


async def rotate(parts: Embedded, credential: Credential, say: Say) -> Rotation:
    """Start `rotate` by Prefect's API, as an incident's script would, and wait until the provider refuses the old key."""
    api, begun = PrefectAPI(parts.environ["PREFECT_API_URL"]), time.monotonic()
    old = KeyMaterial(parts.current(credential)).fingerprint()
    run = await api.start("rotate/keyturn", {"credential": credential.name, "reason": "manual"})
    say("rotate", f"{credential.name}: POST create_flow_run -> {run}")
    steps = await follow(api, run, say)
    retire = await _retire_run(api, credential)
    if retire:
        steps |= await follow(api, retire, say)
    refused = _is_refused(parts, old)
    say("rotate", f"{credential.name}: the old key is {'refused by the provider' if refused else 'STILL ACCEPTED'}")
    return Rotation(credential.secret["store"], refused, steps, round(time.monotonic() - begun, 1))


async def settled(folder: Path, limit: float = 30) -> None:
    """Wait until Prefect's server has written down what its clients told it: it does so a little later."""
    deadline, before = time.monotonic() + limit, -1
    while time.monotonic() < deadline:
        size = sum(path.stat().st_size for path in folder.glob("prefect.db*"))
        if size == before:
            return
        before = size
        await asyncio.sleep(3)


async def follow(api: PrefectAPI, run: str, say: Say) -> dict[str, float]:
    """Say a run's log while it grows, until the run has ended; the seconds of its steps."""
    shown, deadline = 0, time.monotonic() + ROTATION_SECONDS
    while True:
        kind, message = await api.state(run)
        lines = await api.log(run, shown)
        shown += len(lines)
        for line in lines:
            step, separator, sentence = line.partition(": ")
            if separator and step.isalpha() and step.islower():
                say(step, sentence)
        if kind in TERMINAL and not lines:
            if kind != "COMPLETED":
                say("failed", message)
            return await api.step_seconds(run)
        if time.monotonic() > deadline:
            say("failed", f"the run is {kind} after {ROTATION_SECONDS} s")
            return await api.step_seconds(run)
        await asyncio.sleep(0.5)


async def _retire_run(api: PrefectAPI, credential: Credential) -> str | None:
    """The run that the rotation has asked for, at the end of the overlap."""
    for run in await api.runs("retire"):
        if run["parameters"].get("credential") == credential.name and run["state"]["type"] not in TERMINAL:
            run_id: str = run["id"]
            return run_id
    return None


def _is_refused(parts: Embedded, fingerprint: str) -> bool:
    """By the provider's own word: no key of this fingerprint is accepted any more."""
    keys = [key for key in parts.provider_keys() if key["fingerprint"] == fingerprint]
    return bool(keys) and not any(key["accepted"] for key in keys)


def strays(parts: Embedded) -> int:
    """Keys that live at the provider and are current in no store."""
    current = {KeyMaterial(parts.current(credential)).fingerprint() for credential in parts.credentials}
    return sum(1 for key in parts.provider_keys() if not key["deleted"] and key["fingerprint"] not in current)


def leaks(parts: Embedded) -> list[Leak]:
    """Key text in Prefect's database and storage, in any log or file, and in any process but the proxies themselves."""
    proxies = set()
    for name, process in parts.processes.running.items():
        if name.startswith("member-"):
            proxies |= set(descendants(process.pid))
    ours = set(descendants(os.getpid())) | {os.getpid()}
    needles = Needles([parts.literal])
    return in_folder(Needles(parts.secrets), parts.folder) + in_processes(needles, sorted(ours - proxies))
