"""The kind `docker`: containers of the double of an engine, behind a proxy that follows the service's containers.

By keyturn: `roll: restart`, as docs/docker.md recommends. Each container runs LiteLLM behind `keyturn exec --state`, its key
from a Vault server, and has 100 s to end. As without it: the key in the container's environment, and Docker's own 10 s.
`blind` is `docker compose up -d --force-recreate`, every container stopped, removed and made anew at the same time;
`undrained` is the same of one container after the other, each waited for.

The balancer is the same in all ways. It finds the containers by their service, asks each for its readiness twice a second,
takes three failures in a row for one that is not, as HAProxy does, and tries a refused connection on another for 10 s, as
Caddy can be told to. Nobody tells it before a container ends: Docker has nothing that would, so keyturn's roll is not
drained either. It keeps no connection to a container for the next request, and so users open one for each.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import httpx

from bench.under_load import rotation
from bench.under_load.fleet import BEHAVIOUR, LONG, Way
from keyturn.material import KeyMaterial
from keyturn.testing.balancer import Balancer, Health, Target
from keyturn.testing.docker_server import DockerServer
from keyturn.testing.embedded import ACCOUNT, PROJECT, READY_SECONDS, VAULT, Embedded, keyturn_program
from keyturn.testing.litellm import command, write_config
from keyturn.testing.processes import wait_for_http

COMPOSE = {"com.docker.compose.project": "llm", "com.docker.compose.service": "proxy", "com.docker.compose.oneoff": "False"}
NETWORK, STATE = "llm_default", "/run/keyturn/state.json"
HEALTH, TRIED_FOR = Health("/health/readiness", falls=3), 10.0  # seconds
STOP_GRACE = 100  # seconds
ENDED = 120.0  # seconds that the engine's answer to a stop may take


class Containers:
    """One service of Compose at one engine. `roll`: keyturn's; `recreate` is not measured, and tried by a test."""

    keeps_connections = False

    def __init__(self, folder: Path, way: Way, members: int, roll: Literal["restart", "recreate"] = "restart") -> None:
        self.parts = Embedded(folder, credentials=(VAULT,), members=members, further_models=(LONG,))
        self.way, self.roll = way, roll
        self.names = [f"llm-proxy-{n}" for n in range(1, members + 1)]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return self._balancer.url

    @property
    def master_key(self) -> str:
        return self.parts.environ["LITELLM_MASTER_KEY"]

    def start(self) -> None:
        enter = self._stack.enter_context
        self.parts.start_provider()
        self.parts.tell_provider("behaviour", **BEHAVIOUR)
        self.key = self.parts.first_keys[VAULT.name]
        self.server = enter(DockerServer(self.parts.folder / "containers"))
        self.engine = enter(httpx.Client(base_url=f"{self.server.url}/v1.41", timeout=ENDED, trust_env=False))
        self._call("POST", "/networks/create", body={"Name": NETWORK})
        if self.way is Way.KEYTURN:
            self.parts.start_vault()
            self.parts.config.write_text(json.dumps(self._configuration()))
        for name in self.names:
            self._make(name)
        for name in self.names:
            self._until_ready(name)
        self._balancer = enter(Balancer(self._found, health=HEALTH, tried_for=TRIED_FOR))
        self._balancer.wait_for(len(self.names), READY_SECONDS)

    def turn(self) -> str:
        if self.way is Way.KEYTURN:
            rotation.turn(self.parts.config, self.parts.environ, VAULT.name)
            return KeyMaterial(self.parts.current(VAULT)).fingerprint()
        made = self.parts.tell_provider("keys", project=PROJECT, name="the next one", account=ACCOUNT)
        self.key = made["value"]
        for some in [self.names] if self.way is Way.BLIND else [[name] for name in self.names]:
            with ThreadPoolExecutor(len(some)) as side_by_side:
                list(side_by_side.map(self._recreate, some))
            for name in some:
                self._until_ready(name)
        return str(made["fingerprint"])

    def stop(self) -> None:
        self._stack.close()
        self.parts.stop()

    def _recreate(self, name: str) -> None:
        """As Compose does it."""
        self._call("POST", f"/containers/{name}/stop")
        self._call("DELETE", f"/containers/{name}")
        self._make(name)

    def _make(self, name: str) -> None:
        self._call("POST", "/containers/create", {"name": name}, self._body(name))
        self._call("POST", f"/containers/{name}/start")

    def _until_ready(self, name: str) -> None:
        address = self.server.engine.named(name).address
        wait_for_http(f"http://{address}:{self.parts.proxy_port}/health/readiness", seconds=READY_SECONDS)

    def _found(self) -> list[Target]:
        return [(address, self.parts.proxy_port) for address in self.server.addresses(COMPOSE)]

    def _call(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> None:
        self.engine.request(method, path, params=query, json=body).raise_for_status()

    def _body(self, name: str) -> Any:
        config = write_config(self.parts.folder / "litellm.json", self.parts.deployments)
        how = command(config, self.parts.proxy_port, KeyMaterial(self.master_key))
        program = ["{address}" if word == "127.0.0.1" else word for word in how.argv]
        environ = {**how.env, VAULT.variable: self.key}
        stopping = {"StopTimeout": STOP_GRACE} if self.way is Way.KEYTURN else {}
        if self.way is Way.KEYTURN and self.roll == "restart":
            program = [str(keyturn_program()), "exec", "--proxy", "prod", "--state", f"{{root}}{STATE}", "--", *program]
            given = ("KEYTURN_CONFIG", "VAULT_ROLE_ID", "VAULT_SECRET_ID")
            environ = {**how.env, **{each: self.parts.environ[each] for each in given}}
        return {
            "Image": "litellm",
            "Cmd": program,
            "Env": [f"{variable}={value}" for variable, value in environ.items()],
            "Labels": {**COMPOSE, "com.docker.compose.container-number": name.rpartition("-")[2]},
            "HostConfig": {"NetworkMode": NETWORK, "RestartPolicy": {"Name": "unless-stopped"}},
            "NetworkingConfig": {"EndpointsConfig": {NETWORK: {"Aliases": ["proxy"]}}},
            **stopping,
        }

    def _configuration(self) -> Any:
        approle = {"method": "approle", "role_id": "env:VAULT_ROLE_ID", "secret_id": "env:VAULT_SECRET_ID"}
        state = {"state": STATE} if self.roll == "restart" else {}
        fleet = {"engine": self.server.url, "project": "llm", "service": "proxy", "roll": self.roll, **state}
        return {
            "providers": {"openai-org": self.parts.provider_settings},
            "stores": {
                "vault": {"kind": "vault_kv2", "address": self.parts.bao.address, "mount": "secret", "auth": approle}
            },
            "proxies": {
                "prod": {
                    "kind": "docker",
                    "network": NETWORK,
                    "port": self.parts.proxy_port,
                    "master_key": "env:LITELLM_MASTER_KEY",
                    **fleet,
                }
            },
            "credentials": {
                VAULT.name: {
                    "provider": "openai-org",
                    "secrets": [VAULT.secret],
                    "env": VAULT.variable,
                    "canary": {"proxy": "prod", "model": VAULT.model},
                    "proxies": ["prod"],
                    "overlap": self.parts.overlap,
                }
            },
        }
