"""Two hundred credentials of eight teams: each team has a project at the provider and a fleet, all have one store.

Provider, store and proxies are programs of their own, so that workers share them. Half of the credentials have an overlap.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import httpx

from keyturn.material import KeyMaterial
from keyturn.stores.vault_policy import policy
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes, free_port, wait_for_http

TEAMS = 8
FIELD = "API_KEY"


class Scaled:
    """The parts. `names`: of all credentials; `first`: the fingerprint of the key that each begins with."""

    def __init__(self, processes: Processes, folder: Path, count: int) -> None:
        self.processes, self.folder = processes, folder
        self.names = [f"team-{n % TEAMS}-{n:04}" for n in range(count)]
        self.config = folder / "keyturn.yaml"
        self.environ = {
            "KEYTURN_CONFIG": str(self.config),
            "OPENAI_ADMIN_KEY": openai_key("admin").reveal(),
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(16)}",
        }
        self.first: dict[str, str] = {}
        self._start_provider()
        self._start_members()
        self._start_store()
        self._make_first_keys()
        self._write_configuration()

    @staticmethod
    def team(name: str) -> str:
        return name.rpartition("-")[0]

    @staticmethod
    def has_overlap(name: str) -> bool:
        return int(name.rpartition("-")[2]) // TEAMS % 2 == 1

    def every_key(self) -> list[dict[str, Any]]:
        """Every key that ever was, as the provider knows it."""
        found: list[dict[str, Any]] = self._ask(f"{self._provider}/_sim/keys")
        return found

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Those that the provider was asked for."""
        found: list[dict[str, Any]] = self._ask(f"{self._provider}/_sim/log?operation={operation}")["calls"]
        return found

    def writes(self) -> dict[str, int]:
        """How often each credential was written at its fleet."""
        found: dict[str, int] = self._ask(f"{self._member(self.names[0])}/_writes")
        return found

    def served(self, name: str) -> str:
        """The fingerprint of what the store has as the current value."""
        read: Any = self.bao.root.secrets.kv.v2.read_secret_version(
            f"teams/{name}", mount_point="secret", raise_on_deleted_version=True
        )
        return KeyMaterial(read["data"]["data"][FIELD]).fingerprint()

    @staticmethod
    def _ask(url: str) -> Any:
        return httpx.get(url, timeout=60, trust_env=False).raise_for_status().json()

    def _start_provider(self) -> None:
        port = free_port()
        self._provider = f"http://127.0.0.1:{port}"
        program = [sys.executable, "-m", "keyturn.testing.openai_simulator", "--port", str(port)]
        process = self.processes.start("scaled-provider", program, env=self.environ)
        wait_for_http(f"{self._provider}/_sim/health", seconds=60, process=process)

    def _start_members(self) -> None:
        self._port = free_port()
        fleets = self.folder / "fleets.json"
        fleets.write_text(json.dumps({_address(n): self.names[n::TEAMS] for n in range(TEAMS)}))
        program = [sys.executable, "-m", "tests.e2e.scaled_members", "--port", str(self._port)]
        program += ["--provider", f"{self._provider}/v1", "--fleets", str(fleets)]
        process = self.processes.start("scaled-members", program, env=self.environ)
        wait_for_http(f"http://{_address(0)}:{self._port}/health/readiness", seconds=60, process=process)

    def _member(self, name: str) -> str:
        return f"http://{_address(int(self.team(name).removeprefix('team-')))}:{self._port}"

    def _start_store(self) -> None:
        self.bao = OpenBao(self.processes, self.folder / "openbao", name="scaled-store")
        self.bao.enable_kv()
        role = self.bao.app_role(policy("teams/+"))
        self.environ |= {"VAULT_ROLE_ID": role.role_id, "VAULT_SECRET_ID": role.secret_id}

    def _make_first_keys(self) -> None:
        master = {"authorization": f"Bearer {self.environ['LITELLM_MASTER_KEY']}"}
        with httpx.Client(timeout=60, trust_env=False) as http:

            def tell(url: str, **body: Any) -> Any:
                return http.post(url, json=body, headers=master).raise_for_status().json()

            for n in range(TEAMS):
                tell(f"{self._provider}/_sim/projects", id=f"proj_{n}", name=f"team-{n}")
                tell(f"{self._provider}/_sim/service_accounts", project=f"proj_{n}", name="litellm", id=f"svc_acct_{n}")
            for number, name in enumerate(self.names):
                n = number % TEAMS
                made = tell(
                    f"{self._provider}/_sim/keys", project=f"proj_{n}", account=f"svc_acct_{n}", name=f"{name} by hand"
                )
                self.first[name] = made["fingerprint"]
                secret = {FIELD: made["value"]}
                self.bao.root.secrets.kv.v2.create_or_update_secret(f"teams/{name}", secret=secret, mount_point="secret")
                told = {"credential_values": {"api_key": made["value"]}, "credential_info": {}}
                tell(f"{self._member(name)}/credentials", credential_name=name, **told)

    def _write_configuration(self) -> None:
        approle = {"method": "approle", "role_id": "env:VAULT_ROLE_ID", "secret_id": "env:VAULT_SECRET_ID"}
        teams = [f"team-{n}" for n in range(TEAMS)]
        content = {
            "providers": {
                team: {
                    "kind": "openai",
                    "admin_key": "env:OPENAI_ADMIN_KEY",
                    "project": f"proj_{n}",
                    "service_account": f"svc_acct_{n}",
                    "base_url": f"{self._provider}/v1",
                }
                for n, team in enumerate(teams)
            },
            "stores": {"vault": {"kind": "vault_kv2", "address": self.bao.address, "mount": "secret", "auth": approle}},
            "proxies": {
                team: {
                    "kind": "litellm_credentials",
                    "members": [f"http://{_address(n)}:{self._port}"],
                    "master_key": "env:LITELLM_MASTER_KEY",
                    "settle": "0s",
                    "poll_interval": "0s",
                }
                for n, team in enumerate(teams)
            },
            "sweep": {"every": "30s", "at_once": 2},
            "credentials": {name: self._credential(name) for name in self.names},
        }
        self.config.write_text(json.dumps(content, indent=1))  # JSON is YAML

    def _credential(self, name: str) -> dict[str, Any]:
        team = self.team(name)
        return {
            "provider": team,
            "secrets": [{"store": "vault", "path": f"teams/{name}", "field": FIELD}],
            "canary": {"proxy": team, "model": name},
            "proxies": [team],
            "max_age": "30d",
            "overlap": "24h" if self.has_overlap(name) else "0s",
        }


def _address(team: int) -> str:
    return f"127.0.0.{team + 1}"
