"""The proxies of one world: stand-ins for LiteLLM, each under a real `keyturn exec`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from keyturn.testing.embedded import beside
from keyturn.testing.processes import free_port, wait_for_http
from tests.chaos.hosts import DIRECT
from tests.chaos.outside import Outside

READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Member:
    """`port`: the proxy's. `control`: its supervisor's."""

    name: str
    port: int
    control: int


class Fleet:
    """`start` it once; `renew` starts again what has ended, and rolls what serves another key than it should."""

    def __init__(self, name: str, count: int, outside: Outside) -> None:
        self.members = [Member(f"member-{name}-{n + 1}", free_port(), free_port()) for n in range(count)]
        self._name, self._outside = name, outside
        self._models, self._environ = Path(), dict[str, str]()

    def start(self, models: Path, environ: Mapping[str, str]) -> None:
        """`models`: LiteLLM's configuration. `environ`: what the supervisors are given beside the driver's own."""
        self._models, self._environ = models, {**self._outside.worker_environ(), **environ}
        started = [(self._start(member), member) for member in self.members]
        for process, member in started:
            self._wait(process, member)

    def _start(self, member: Member) -> Popen[bytes]:
        program: list[str | Path] = [beside("keyturn"), "exec", "--proxy", self._name, "--drain", "0s"]
        program += ["--control", f"http://{DIRECT}:{member.control}", "--"]
        program += [beside("python"), "-m", "keyturn.testing.stand_in", "--config", self._models]
        program += ["--host", DIRECT, "--port", str(member.port)]
        return self._outside.processes.start(member.name, program, env=self._environ)

    @staticmethod
    def _wait(process: Popen[bytes], member: Member) -> None:
        wait_for_http(f"http://{DIRECT}:{member.control}/health/readiness", seconds=READY_SECONDS, process=process)

    async def status(self, member: Member) -> dict[str, Any] | None:
        """What its supervisor says; None where there is none any more."""
        try:
            answer = await self._outside.ask.get(self._url(member, "status"), headers=self._headers)
        except httpx.ConnectError:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def statuses(self) -> dict[Member, dict[str, Any] | None]:
        found = await asyncio.gather(*(self.status(member) for member in self.members))
        return dict(zip(self.members, found, strict=True))

    async def rolls(self) -> dict[Member, int]:
        """How often each supervisor has rolled its proxy since it was started."""
        return {member: int(status["rolls"]) for member, status in (await self.statuses()).items() if status}

    async def renew(self, wanted: Mapping[str, str]) -> None:
        """`wanted`: credential -> the fingerprint that every member has to serve."""
        for member, status in (await self.statuses()).items():
            if status is None:
                await asyncio.to_thread(self._wait, self._start(member), member)
            for name, fingerprint in wanted.items():
                await self._roll(member, name, fingerprint)

    async def _roll(self, member: Member, name: str, fingerprint: str) -> None:
        for _ in range(READY_SECONDS):
            status = await self.status(member)
            if status is not None and status["versions"].get(name, {}).get("fingerprint") == fingerprint:
                return
            body = {"credential": name, "fingerprint": fingerprint}
            await self._outside.ask.post(self._url(member, "roll"), json=body, headers=self._headers)
            await asyncio.sleep(1)
        raise RuntimeError(f"{member.name} cannot be put back: see its log")

    def _url(self, member: Member, what: str) -> str:
        return f"http://{DIRECT}:{member.control}/v1/{what}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._outside.environ['KEYTURN_CONTROL_TOKEN']}"}
