"""A whole installation on loopback: provider simulator, OpenBao, an AWS double, proxies behind a load balancer, Prefect.

The demo and the end-to-end tests run on it. Everything is a real program with a log file of its own; keys are made when
it starts, and each bears a literal that a search for leaks can look for: `literal` the providers' keys, `own_literal` what
keyturn itself logs in with (which stands in the environment of processes, as it would in production).
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import httpx

from keyturn.material import KeyMaterial
from keyturn.stores.vault_policy import policy
from keyturn.testing.litellm import Deployment, command, write_config
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes, free_port, wait_for_http
from keyturn.testing.programs import SERVE, installed, prefect_server

if TYPE_CHECKING:
    from keyturn.testing.postgres import Postgres

Database = Literal["sqlite", "postgres"]  # under Prefect's server

PROJECT = "proj_demo"
ACCOUNT = "svc_acct_litellm"
BUNDLE = "litellm/providers"
WHOLE_AWS = "prod/openai/api_key"
REGION = "us-east-1"

_SECRETS = ("VAULT_SECRET_ID",)  # the others bear the literal

READY_SECONDS = 240  # LiteLLM and Prefect both take most of a minute on a busy machine


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential of the installation: its name, the variable the proxies read it from, and its model."""

    name: str
    variable: str
    model: str
    secret: dict[str, str]


VAULT = Credential(
    "openai-vault", "OPENAI_API_KEY", "gpt-4o-mini", {"store": "vault", "path": BUNDLE, "field": "OPENAI_API_KEY"}
)
AWS = Credential("openai-aws", "OPENAI_API_KEY_AWS", "gpt-4o", {"store": "aws", "name": WHOLE_AWS})


@dataclass
class Embedded:
    """The parts, started one by one; `stop` ends them all. `environ` is what a keyturn process of it needs."""

    folder: Path
    credentials: Sequence[Credential] = (VAULT, AWS)
    overlap: str = "5s"
    members: int = 2
    further_models: Sequence[str] = ()  # served with the first credential's key
    proxy: Literal["litellm", "stand-in"] = "litellm"
    balancer_tries: str = "10s"  # for so long the balancer looks for a member that takes a request
    literal: str = field(default_factory=lambda: "kt" + secrets.token_hex(12))
    own_literal: str = field(default_factory=lambda: "ks" + secrets.token_hex(12))
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(self.folder / "logs")
        self.config = self.folder / "keyturn.yaml"
        self.first_keys: dict[str, str] = {}
        self.postgres: Postgres | None = None
        self.proxy_port, self.control_port = free_port(), free_port()
        self.environ |= {
            "KEYTURN_CONFIG": str(self.config),
            "OPENAI_ADMIN_KEY": openai_key("admin", self.own_literal).reveal(),
            "LITELLM_MASTER_KEY": f"sk-{self.own_literal}-master-{secrets.token_hex(8)}",
            "KEYTURN_CONTROL_TOKEN": f"{self.own_literal}-control-{secrets.token_hex(8)}",
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": f"{self.own_literal}/aws/{secrets.token_hex(8)}",
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.loopback,
        }

    @property
    def loopback(self) -> dict[str, str]:
        """Variables that keep what calls a member's address from a proxy of the environment."""
        addresses = ",".join(["localhost", "127.0.0.1", *(self.address(n) for n in range(1, max(3, self.members)))])
        return {"NO_PROXY": addresses, "no_proxy": addresses}

    # Each member has a loopback address of its own, so that one health port serves all: balancers know only one.
    def address(self, member: int) -> str:
        return f"127.0.0.{member + 1}"

    @property
    def member_urls(self) -> list[str]:
        return [f"http://{self.address(n)}:{self.proxy_port}" for n in range(self.members)]

    def start_provider(self) -> None:
        """The simulator, with a project, a service account, and a key made by hand for each credential."""
        port = free_port()
        self.provider_url = f"http://127.0.0.1:{port}"
        program = [sys.executable, "-m", "keyturn.testing.openai_simulator", "--port", str(port), "--project", PROJECT]
        program += ["--service-account", ACCOUNT]
        process = self.processes.start("provider", program, env=self.environ)
        wait_for_http(f"{self.provider_url}/_sim/health", seconds=60, process=process)
        self.tell_provider("behaviour", key_literal=self.literal, models=[each.model_name for each in self.deployments])
        for each in self.credentials:
            made = self.tell_provider("keys", project=PROJECT, name=f"{each.name} by hand", account=ACCOUNT)
            self.first_keys[each.name] = made["value"]

    @property
    def deployments(self) -> list[Deployment]:
        """What each proxy has in its model_list."""
        url, first = f"{self.provider_url}/v1", self.credentials[0]
        models = [(f"{each.name}-1", each.variable, each.model) for each in self.credentials]
        models += [(f"{first.name}-{n}", first.variable, model) for n, model in enumerate(self.further_models, 2)]
        return [Deployment(name, url, model, variable, f"openai/{model}") for name, variable, model in models]

    @property
    def provider_settings(self) -> dict[str, str]:
        """The provider, as keyturn.yaml has it."""
        return {
            "kind": "openai",
            "admin_key": "env:OPENAI_ADMIN_KEY",
            "project": PROJECT,
            "service_account": ACCOUNT,
            "base_url": f"{self.provider_url}/v1",
        }

    @property
    def secrets(self) -> list[str]:
        """Texts that stand in no file, log or database: of every provider's key, and of what keyturn itself logs in with."""
        return [self.literal, self.own_literal, *(self.environ[name] for name in _SECRETS if name in self.environ)]

    def tell_provider(self, what: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.provider_url}/_sim/{what}", json=body, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def ask_provider(self, what: str, **query: str) -> Any:
        answer = httpx.get(f"{self.provider_url}/_sim/{what}", params=query, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def provider_keys(self) -> list[dict[str, Any]]:
        """Every key that ever was, as the provider knows it."""
        found: Any = self.ask_provider("keys")
        return list(found["data"] if isinstance(found, dict) else found)

    def start_vault(self) -> None:
        """OpenBao, with the bundle, and an AppRole that may do what a rotation needs and nothing else."""
        self.bao = OpenBao(self.processes, self.folder / "openbao")
        self.bao.enable_kv()
        bundle = {each.secret["field"]: self.first_keys[each.name] for each in self._of("vault")}
        self.bao.root.secrets.kv.v2.create_or_update_secret(
            BUNDLE, secret={**bundle, "OTHER": "untouched"}, mount_point="secret"
        )
        role = self.bao.app_role(policy(BUNDLE))
        self.environ |= {"VAULT_ROLE_ID": role.role_id, "VAULT_SECRET_ID": role.secret_id}

    def start_aws(self) -> None:
        """The double of AWS Secrets Manager, with one secret for each credential that lives there."""
        port = free_port()
        self.aws_url = f"http://127.0.0.1:{port}"
        program = [sys.executable, "-m", "keyturn.testing.aws_double", "--port", str(port)]
        process = self.processes.start("aws", program, env=self.environ)
        wait_for_http(f"{self.aws_url}/_double/calls", seconds=60, process=process)
        client = self.aws_client()
        for each in self._of("aws"):
            client.create_secret(Name=each.secret["name"], SecretString=self.first_keys[each.name])

    def aws_client(self) -> Any:
        return boto3.client(
            "secretsmanager",
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environ["AWS_SECRET_ACCESS_KEY"],
        )

    def write_configuration(self, **settings: Any) -> None:
        """keyturn.yaml. `settings` go into every credential."""
        approle = {"method": "approle", "role_id": "env:VAULT_ROLE_ID", "secret_id": "env:VAULT_SECRET_ID"}
        stores: dict[str, Any] = {}
        if hasattr(self, "bao"):
            stores["vault"] = {"kind": "vault_kv2", "address": self.bao.address, "mount": "secret", "auth": approle}
        if hasattr(self, "aws_url"):
            stores["aws"] = {"kind": "aws_secrets_manager", "region": REGION, "endpoint_url": self.aws_url}
        content = {
            "providers": {"openai-org": self.provider_settings},
            "stores": stores,
            "proxies": {
                "local": {
                    "kind": "process",
                    "members": [
                        {"url": url, "control": f"http://{self.address(n)}:{self.control_port}"}
                        for n, url in enumerate(self.member_urls)
                    ],
                    "control_token": "env:KEYTURN_CONTROL_TOKEN",
                    "master_key": "env:LITELLM_MASTER_KEY",
                }
            },
            "credentials": {
                each.name: {
                    "provider": "openai-org",
                    "secrets": [each.secret],
                    "env": each.variable,
                    "canary": {"proxy": "local", "model": each.model},
                    "proxies": ["local"],
                    "overlap": self.overlap,
                    **settings,
                }
                for each in self.credentials
            },
        }
        self.config.write_text(json.dumps(content, indent=2))  # JSON is YAML

    def start_members(self, *, drain: str = "3s") -> None:
        """The proxies, each under its supervisor, started together."""
        config = write_config(self.folder / "litellm.json", self.deployments)
        started = [self.start_member(n, config, drain) for n in range(self.members)]
        for n, process in enumerate(started):
            url = f"http://{self.address(n)}:{self.control_port}/health/readiness"
            wait_for_http(url, seconds=READY_SECONDS, process=process)

    @property
    def supervisor(self) -> list[str | Path]:
        """The program that members run under."""
        return [keyturn_program(), "exec"]

    def start_member(self, n: int, config: Path, drain: str) -> Any:
        host = self.address(n)
        program: list[str | Path] = [*self.supervisor, "--proxy", "local", "--drain", drain]
        program += ["--control", f"http://{host}:{self.control_port}", "--"]
        environ = dict(self.environ)
        if self.proxy == "litellm":
            how = command(config, self.proxy_port, KeyMaterial(self.environ["LITELLM_MASTER_KEY"]))
            program += [host if word == "127.0.0.1" else word for word in how.argv]
            environ |= {**how.env, **self.loopback}
        else:
            program += [sys.executable, "-m", "keyturn.testing.stand_in", "--config", config]
            program += ["--host", host, "--port", str(self.proxy_port), "--only", self.folder / f"only-{n + 1}"]
        return self.processes.start(f"member-{n + 1}", program, env=environ)

    def out(self, host: str) -> Path:
        """A file: while it is there, a balancer that is `gated` gives the member of this address no requests."""
        return self.folder / f"{host}.out"

    def leave_and_return(self, host: str) -> dict[str, list[str]]:
        """`before` and `after` of a member that something else restarts."""
        return {"before": ["touch", str(self.out(host))], "after": ["rm", "-f", str(self.out(host))]}

    def start_balancer(self, *, supervised: bool = True, gated: bool = False, keep_alive: bool | None = None) -> None:
        """Caddy in front of the members. It asks the supervisors whether a member may be given requests.

        `gated`: there are none, and Caddy answers in their place: 503 while the member's file `out` is there, else what the
        proxy says (deployments/Caddyfile.gated). Neither: it asks the proxies themselves, and unless told otherwise keeps no
        connection to one, which may end at any moment.
        """
        port = free_port()
        self.balancer_url = f"http://127.0.0.1:{port}"
        upstreams = [{"dial": url.removeprefix("http://")} for url in self.member_urls]
        asked_first = supervised or gated
        port_asked = self.control_port if asked_first else self.proxy_port
        active = {"uri": "/health/readiness", "port": port_asked, "interval": "500ms", "timeout": "2s"}
        kept = asked_first if keep_alive is None else keep_alive
        proxy = {
            "handler": "reverse_proxy",
            "upstreams": upstreams,
            # A refused connection is tried on the other member; a request that was sent is never sent twice.
            "load_balancing": {"selection_policy": {"policy": "round_robin"}, "try_duration": self.balancer_tries},
            "health_checks": {"active": active},
            # LiteLLM closes a connection that was idle for 5 s, and may do so when the next request is on its way.
            "transport": {"protocol": "http", "keep_alive": {"enabled": kept, "idle_timeout": "3s"}},
            "flush_interval": -1,
        }
        server = {"listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, "routes": [{"handle": [proxy]}]}
        gates = {f"gate-{n + 1}": self._gate(n) for n in range(self.members)} if gated else {}
        config = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"balancer": server, **gates}}}}
        path = self.folder / "caddy.json"
        path.write_text(json.dumps(config, indent=2))
        home = str(self.folder / "caddy")
        program: list[str | Path] = [beside("caddy"), "run", "--config", path]
        process = self.processes.start("balancer", program, env={"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})
        wait_for_http(f"{self.balancer_url}/health/liveliness", seconds=60, process=process)

    def _gate(self, n: int) -> dict[str, Any]:
        """Where Caddy asks whether member n may be given requests."""
        host = self.address(n)
        out = self.out(host)
        is_out = {"file": {"root": str(out.parent), "try_files": [f"/{out.name}"]}}
        refused = {"match": [is_out], "handle": [{"handler": "static_response", "status_code": 503}]}
        asked = {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": f"{host}:{self.proxy_port}"}]}]}
        listen = [f"{host}:{self.control_port}"]
        return {"listen": listen, "automatic_https": {"disable": True}, "routes": [refused, asked]}

    def start_prefect(
        self,
        log_level: str = "DEBUG",
        database: Database = "sqlite",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prefect's server with its UI. Its database is a file in this folder, or a PostgreSQL (group `dev`).

        `settings`: more PREFECT_ variables, for the server and for everything that talks to it.
        """
        port = free_port()
        self.prefect_url = f"http://127.0.0.1:{port}"
        self.environ |= {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_UI_API_URL": f"{self.prefect_url}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_LOGGING_LEVEL": log_level,
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        }
        if database == "postgres":
            from keyturn.testing.postgres import Postgres

            self.postgres = Postgres(self.processes)
            self.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self.postgres.url
        more = dict(settings or {})
        self.environ |= more
        program = installed(prefect_server("127.0.0.1", port))
        process = self.processes.start("prefect", program, env={**self.environ, "PREFECT_LOGGING_LEVEL": "INFO", **more})
        wait_for_http(f"{self.prefect_url}/api/health", seconds=READY_SECONDS, process=process)

    def start_worker(self, root: Path) -> None:
        """`keyturn serve`: the deployments, run from the project's root."""
        process = self.processes.start("worker", installed(SERVE), env={**self.environ, "KEYTURN_ROOT": str(root)}, cwd=root)
        for name in ("rotate", "retire"):
            wait_for_http(f"{self.prefect_url}/api/deployments/name/{name}/keyturn", seconds=READY_SECONDS, process=process)

    def current(self, credential: Credential) -> str:
        """The text of the current key, read as an operator would."""
        if credential.secret["store"] == "vault":
            read: Any = self.bao.root.secrets.kv.v2.read_secret_version(
                BUNDLE, mount_point="secret", raise_on_deleted_version=True
            )
            return str(read["data"]["data"][credential.secret["field"]])
        return str(self.aws_client().get_secret_value(SecretId=credential.secret["name"])["SecretString"])

    def _of(self, store: str) -> list[Credential]:
        return [each for each in self.credentials if each.secret["store"] == store]

    def write_environment(self, path: Path) -> None:
        """A script for a shell of this user: what a keyturn process needs, and where the parts are (docs/tutorial.md)."""
        addresses = {
            "DEMO_PROVIDER": f"{self.provider_url}/v1",
            "DEMO_VAULT": self.bao.address,
            **{f"DEMO_MEMBER_{n + 1}": url for n, url in enumerate(self.member_urls)},
            **{f"DEMO_CONTROL_{n + 1}": f"http://{self.address(n)}:{self.control_port}" for n in range(self.members)},
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in (self.environ | addresses).items()]
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(lines)

    def stop(self) -> None:
        for first in ("worker", "prefect"):  # they may be at work with the others
            with suppress(KeyError):
                self.processes.stop(first, grace=20)
        self.processes.stop()
        if self.postgres is not None:
            self.postgres.remove()


def beside(program: str) -> Path:
    """A program of this Python environment."""
    return Path(sys.executable).parent / program


def keyturn_program() -> Path:
    return beside("keyturn")
