"""The kind `process`: LiteLLM proxies behind Caddy, with the settings of deployments/Caddyfile.

By keyturn: each under `keyturn exec --control`, its key from a Vault server, and Caddy asks the supervisors. As without it:
LiteLLM with its key in the environment, and Caddy asks LiteLLM. All else is the same, also that Caddy tries a refused
connection on another member for 10 s.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.under_load import rotation
from bench.under_load.fleet import BEHAVIOUR, LONG, Way
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import ACCOUNT, PROJECT, READY_SECONDS, VAULT, Embedded
from keyturn.testing.litellm import command, write_config
from keyturn.testing.processes import wait_for_http

GRACE = 90.0  # seconds for the last requests, as `keyturn exec` gives
NOTICED = 3.0  # seconds until the balancer has seen a member that is ready


def fleet(folder: Path, way: Way, members: int) -> Supervised | ByHand:
    return (Supervised if way is Way.KEYTURN else ByHand)(folder, way, members)


class Processes:
    """What all have that are behind Caddy: the provider, the balancer's address, keyturn's own turn, and an end."""

    keeps_connections = True

    def __init__(self, folder: Path, way: Way, members: int) -> None:
        self.parts = Embedded(folder, credentials=(VAULT,), members=members, further_models=(LONG,))
        self.way = way

    @property
    def url(self) -> str:
        return self.parts.balancer_url

    @property
    def master_key(self) -> str:
        return self.parts.environ["LITELLM_MASTER_KEY"]

    def start_provider(self) -> None:
        self.parts.start_provider()
        self.parts.tell_provider("behaviour", **BEHAVIOUR)

    def turn(self) -> str:
        """By keyturn."""
        rotation.turn(self.parts.config, self.parts.environ, VAULT.name)
        return KeyMaterial(self.parts.current(VAULT)).fingerprint()

    def one_by_one_or_all(self) -> list[range]:
        """The members, as a roll without keyturn takes them."""
        everyone = range(self.parts.members)
        return [everyone] if self.way is Way.BLIND else [range(n, n + 1) for n in everyone]

    def stop(self) -> None:
        self.parts.stop()


class Supervised(Processes):
    """Under `keyturn exec`, rolled by keyturn."""

    def start(self) -> None:
        self.start_provider()
        self.parts.start_vault()
        self.parts.write_configuration()
        self.parts.start_members()
        self.parts.start_balancer()
        time.sleep(NOTICED)


class ByHand(Processes):
    """As they are run without keyturn."""

    def start(self) -> None:
        self.start_provider()
        self.key = self.parts.first_keys[VAULT.name]
        self.config = write_config(self.parts.folder / "litellm.json", self.parts.deployments)
        self._start(range(self.parts.members))
        self.parts.start_balancer(supervised=False, keep_alive=True)
        time.sleep(NOTICED)

    def turn(self) -> str:
        made = self.parts.tell_provider("keys", project=PROJECT, name="the next one", account=ACCOUNT)
        self.key = made["value"]
        for some in self.one_by_one_or_all():
            self._stop(some)
            self._start(some)
        return KeyMaterial(self.key).fingerprint()

    def _start(self, members: range) -> None:
        started = [(self.parts.member_urls[n], self._started(n)) for n in members]
        for url, process in started:
            wait_for_http(f"{url}/health/readiness", seconds=READY_SECONDS, process=process)

    def _started(self, n: int) -> subprocess.Popen[bytes]:
        how = command(self.config, self.parts.proxy_port, KeyMaterial(self.master_key))
        program = [self.parts.address(n) if word == "127.0.0.1" else word for word in how.argv]
        environ = {**how.env, **self.parts.loopback, VAULT.variable: self.key}
        return self.parts.processes.start(f"member-{n + 1}", program, env=environ)

    def _stop(self, members: range) -> None:
        """SIGTERM to all of them, and wait until they have ended."""
        ended = [self.parts.processes.running[f"member-{n + 1}"] for n in members]
        for process in ended:
            process.terminate()
        for process in ended:
            process.wait(GRACE)
