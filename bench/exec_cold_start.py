"""Cold start: how long until the program has begun, under `keyturn exec` and under the usual entrypoints.

Measured: from just before the entrypoint is spawned until the program that it becomes takes the time (both by the system's
monotonic clock). The program is a bare Python, whose own start is in both times. One key, of one secret, read over plain
HTTP on loopback from the same server: OpenBao with a token, and the AWS double with a pair of keys. Bytecode is warm for
both, the same Python and the same packages are used, the runs take turns, and the median of each is taken. keyturn.yaml has
one credential; no proxy and no bundle of authorities is set in the environment, which would send keyturn its longer way:
that one is measured too, as `exec_cold_start_full_path_ratio`.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3

from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes

RUNS = int(os.environ.get("KEYTURN_BENCH_RUNS", "25"))
_WARM_UP = 3
_GUIDES = Path(__file__).with_name("guides")
_KEYTURN = Path(sys.executable).with_name("keyturn")
_PROGRAM = "import os, sys, time; sys.stdout.write(f'{time.monotonic_ns()} {os.environ[\"OPENAI_API_KEY\"]}')"
_CONFIG = """
providers:
  org: {{kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc}}
stores:
  store: {store}
proxies:
  local: {{kind: process, members: ["http://127.0.0.1:4001"], master_key: env:LITELLM_MASTER_KEY}}
credentials:
  openai-prod:
    provider: org
    secrets: [{secret}]
    env: OPENAI_API_KEY
    canary: {{proxy: local, model: gpt-4o-mini}}
    proxies: [local]
    schedule: "0 3 * * 1"
    overlap: 24h
"""


def measure() -> Mapping[str, Any]:
    """Medians, each divided by that of the guide's entrypoint over the same store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenes = {"aws": _aws(stack, folder / "aws"), "vault": _vault(stack, folder / "vault")}
        seconds = {name: _compared(scene) for name, scene in scenes.items()}
    for name, each in seconds.items():
        told = ", ".join(f"{way} {median * 1000:.0f} ms" for way, median in each.items())
        print(f"  {name}: {told}", file=sys.stderr)
    return {
        "exec_cold_start_ratio": {name: round(each["keyturn"] / each["guide"], 3) for name, each in seconds.items()},
        "exec_cold_start_full_path_ratio": {name: round(each["full"] / each["guide"], 3) for name, each in seconds.items()},
    }


def page(results: Mapping[str, Any]) -> str:
    if "exec_cold_start_ratio" not in results:
        return ""
    lean, full = results["exec_cold_start_ratio"], results["exec_cold_start_full_path_ratio"]
    rows = "".join(f"| {name} | {lean[name]} | {full[name]} |\n" for name in sorted(lean))
    return (
        "## Cold start of `keyturn exec`\n\n"
        "The time until the program has begun, divided by that of a plain entrypoint with boto3 (aws) or hvac (vault) that\n"
        "reads the same secret from the same server on loopback. The full path is taken for what is not plain.\n\n"
        "| store | ratio | ratio on the full path |\n|---|---|---|\n" + rows
    )


class _Scene:
    """A store with one key in it. `variables`: what both entrypoints need."""

    def __init__(self, folder: Path, guide: str, key: str, variables: Mapping[str, str], store: str, secret: str) -> None:
        folder.mkdir()
        (folder / "keyturn.yaml").write_text(_CONFIG.format(store=store, secret=secret))
        self.key = key
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KEYTURN_CONFIG": str(folder / "keyturn.yaml"),
            **variables,
        }
        program = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        launcher = [str(_KEYTURN), "exec", "--proxy", "local"]
        self.ways = {
            "keyturn": [*launcher, "--", *program],
            "guide": [sys.executable, str(_GUIDES / f"{guide}_entrypoint.py"), *program],
            "full": [*launcher, *program],  # without `--` a call is no plain one
        }

    def seconds(self, command: Sequence[str]) -> float:
        """One start. RuntimeError when the program was not given the key."""
        began = time.monotonic_ns()
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        at, _, key = done.stdout.partition(" ")
        if key != self.key:
            raise RuntimeError(f"an entrypoint did not deliver the key (exit code {done.returncode})")
        return (int(at) - began) / 1e9


def _compared(scene: _Scene) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in scene.ways}
    for run in range(_WARM_UP + RUNS):
        for name, command in scene.ways.items():
            seconds = scene.seconds(command)
            if run >= _WARM_UP:
                taken[name].append(seconds)
    return {name: statistics.median(each) for name, each in taken.items()}


def _aws(stack: ExitStack, folder: Path) -> _Scene:
    double = AWSDouble()
    url = double.start()
    stack.callback(double.stop)
    key, name = secrets.token_hex(24), "prod/openai/api_key"
    login = {"AWS_ACCESS_KEY_ID": "id" + secrets.token_hex(8), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_secret(Name=name, SecretString=key)
    client.close()
    store = f'{{kind: aws_secrets_manager, region: us-east-1, endpoint_url: "{url}"}}'
    variables = {**login, "SECRETS_URL": url, "SECRET_NAME": name}
    return _Scene(folder, "boto3", key, variables, store, f"{{store: store, name: {name}}}")


def _vault(stack: ExitStack, folder: Path) -> _Scene:
    processes = Processes(folder.with_name("openbao"))
    stack.callback(processes.stop)
    server = OpenBao(processes, folder.with_name("openbao"))
    server.enable_kv("secret")
    key, path = secrets.token_hex(24), "litellm/providers"
    server.root.secrets.kv.v2.create_or_update_secret(path, {"OPENAI_API_KEY": key})
    token = server.token(f'path "secret/data/{path}" {{ capabilities = ["read"] }}')
    store = f'{{kind: vault_kv2, address: "{server.address}", auth: {{method: token, token: env:VAULT_TOKEN}}}}'
    variables = {"VAULT_TOKEN": token, "SECRETS_URL": server.address, "SECRET_NAME": path}
    return _Scene(folder, "hvac", key, variables, store, f"{{store: store, path: {path}, field: OPENAI_API_KEY}}")
