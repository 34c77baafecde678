"""The kinds `command` and `systemd`: LiteLLM proxies that something else restarts, behind Caddy as deployments/Caddyfile.

By keyturn: each is started by `keyturn exec --state`, its key from a Vault server, and `before` takes it out of the
balancer. For `command` that is LiteLLM's own /health/drain; for `systemd` a file that Caddy looks for
(deployments/Caddyfile.gated).

As without it: LiteLLM with its key in the environment. Somebody writes the new key where that environment comes from, and
restarts by the same commands: `blind` all at once, `undrained` one after the other. All else is the same, also that Caddy
asks LiteLLM whether it is ready, and tries a refused connection on another member for 10 s.

`command`: the process manager of the walks is what restarts. `systemd`: a stand-in for `systemctl` (systemctl.py).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.under_load import systemctl
from bench.under_load.fleet import Making, Way
from bench.under_load.process import NOTICED, Processes
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import ACCOUNT, PROJECT, READY_SECONDS, VAULT, keyturn_program
from keyturn.testing.litellm import command, write_config
from keyturn.testing.processes import wait_for_http
from tests.walks import process_manager

GRACE = 90  # seconds for the last requests
UNIT = "litellm@.service"
_DRAIN = "3s"  # Caddy asks twice a second
_ASK = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"


class Restarted(Processes):
    """One machine. `units`: a file for each member, which says how it is started; its name is that of a unit."""

    def __init__(self, kind: str, folder: Path, way: Way, members: int) -> None:
        super().__init__(folder, way, members)
        self.kind, self.units = kind, folder / "units"
        self.path = os.environ["PATH"]

    def start(self) -> None:
        self.start_provider()
        if self.way is Way.KEYTURN:
            self.parts.start_vault()
            self.parts.write_configuration()
            self._write_fleet()
        self.units.mkdir()
        self._write_systemctl()
        self._specify(self.parts.first_keys[VAULT.name])
        self._restart(range(self.parts.members))
        self.parts.start_balancer(supervised=False, gated=self._by_files, keep_alive=True)
        time.sleep(NOTICED)

    def turn(self) -> str:
        if self.way is Way.KEYTURN:
            return super().turn()
        made = self.parts.tell_provider("keys", project=PROJECT, name="the next one", account=ACCOUNT)
        self._specify(made["value"])
        for some in self.one_by_one_or_all():
            self._restart(some)
        return KeyMaterial(made["value"]).fingerprint()

    def stop(self) -> None:
        os.environ["PATH"] = self.path
        for pid in self.units.glob("*.pid"):
            process_manager.stop(pid, grace=5)
        super().stop()

    @property
    def _by_files(self) -> bool:
        return self.way is Way.KEYTURN and self.kind == "systemd"

    def _unit(self, n: int) -> str:
        return UNIT.replace("@.", f"@{self.parts.address(n)}.")

    def _command(self, n: int) -> list[str]:
        """What restarts a member."""
        if self.kind == "systemd":
            return ["systemctl", "restart", self._unit(n)]
        return [sys.executable, process_manager.__file__, str(self.units / f"{self._unit(n)}.json")]

    def _restart(self, members: range) -> None:
        """All of them at once, and wait until each is ready."""
        running = [subprocess.Popen(self._command(n)) for n in members]
        if sum(process.wait() for process in running):
            raise RuntimeError("a member's restart command failed")
        for n in members:
            wait_for_http(f"{self.parts.member_urls[n]}/health/readiness", seconds=READY_SECONDS)

    def _specify(self, key: str) -> None:
        """How each is started. `key`: what stands in its environment, as without keyturn."""
        drain = {"general_settings": {"enable_drain_endpoint": True}}
        config = write_config(self.parts.folder / "litellm.json", self.parts.deployments, **drain)
        how = command(config, self.parts.proxy_port, KeyMaterial(self.master_key))
        environ = {"PATH": self.path, "HOME": str(self.parts.folder), **how.env, **self.parts.loopback}
        for n in range(self.parts.members):
            program = [self.parts.address(n) if word == "127.0.0.1" else word for word in how.argv]
            if self.way is Way.KEYTURN:
                launcher = [keyturn_program(), "exec", "--proxy", "local", "--state", self._state(n), "--"]
                program, own = [*map(str, launcher), *program], dict(self.parts.environ)
            else:
                own = {VAULT.variable: key}
            told = {
                "command": program,
                "environ": {**environ, **own},
                "log": str(self.parts.folder / "logs" / f"member-{n + 1}.log"),
                "pid": str(self.units / f"{self._unit(n)}.pid"),
                "grace": GRACE,
            }
            (self.units / f"{self._unit(n)}.json").write_text(json.dumps(told))

    def _state(self, n: int) -> Path:
        return self.parts.folder / f"state-{self.parts.address(n)}.json"

    def _write_systemctl(self) -> None:
        """On PATH, before any that the machine has."""
        program = self.parts.folder / "bin" / "systemctl"
        program.parent.mkdir()
        words = shlex.join([sys.executable, systemctl.__file__, str(self.units)])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o700)
        os.environ["PATH"] = f"{program.parent}{os.pathsep}{self.path}"

    def _write_fleet(self) -> None:
        content = json.loads(self.parts.config.read_text())
        content["proxies"]["local"] = self._units() if self.kind == "systemd" else self._commands()
        self.parts.config.write_text(json.dumps(content))

    def _commands(self) -> dict[str, Any]:
        members = [
            {
                "url": url,
                "state": str(self._state(n)),
                "before": [sys.executable, "-c", _ASK, f"{url}/health/drain"],
                "restart": self._command(n),
            }
            for n, url in enumerate(self.parts.member_urls)
        ]
        return {"kind": "command", "members": members, "drain": _DRAIN, "master_key": "env:LITELLM_MASTER_KEY"}

    def _units(self) -> dict[str, Any]:
        return {
            "kind": "systemd",
            "unit": UNIT,
            "instances": [self.parts.address(n) for n in range(self.parts.members)],
            "url": f"http://%i:{self.parts.proxy_port}",
            "state": f"{self.parts.folder}/state-%i.json",
            **self.parts.leave_and_return("%i"),
            "drain": _DRAIN,
            "master_key": "env:LITELLM_MASTER_KEY",
        }


def fleet(kind: str) -> Making:
    return partial(Restarted, kind)
