"""A real OpenBao and the AWS double, with keys in them, and a keyturn.yaml that reads them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from tests.delivery.pairs import BOTH, new_pair
from tests.delivery.supervised import new_key

CONFIG = """
providers:
  org: {{kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc}}
stores:
  store: {store}
proxies:
  local: {{kind: process, members: ["http://127.0.0.1:4001"], master_key: env:LITELLM_MASTER_KEY}}
credentials:
  openai-prod:
    provider: org
    secrets: [{{store: store, path: litellm/providers, field: OPENAI_API_KEY}}]
    canary: {{proxy: local, model: gpt}}
    proxies: [local]
  openai-whole:
    provider: org
    secrets: [{{store: store, path: litellm/whole}}]
    env: WHOLE_KEY
    canary: {{proxy: local, model: gpt}}
    proxies: [local]
"""

VARIABLES = ("OPENAI_API_KEY", "WHOLE_KEY")


@dataclass
class Scene:
    """A store that holds two keys. `variables`: what a process needs to read them with `config`."""

    config: Path
    variables: dict[str, str]
    keys: dict[str, str] = field(
        default_factory=lambda: {name: new_key().reveal() for name in ("OPENAI_API_KEY", "WHOLE_KEY")}
    )

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with: secrets of keyturn's own among it."""
        return {
            "PATH": "/usr/bin:/bin",
            "KEYTURN_CONFIG": str(self.config),
            "LITELLM_MASTER_KEY": "master-" + secrets.token_hex(8),
            "OPENAI_ADMIN_KEY": "admin-" + secrets.token_hex(8),
            **self.variables,
        }


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    folder = tmp_path_factory.mktemp("openbao")
    processes = Processes(folder)
    try:
        server = OpenBao(processes, folder)
        server.enable_kv("secret")
        yield server
    finally:
        processes.stop()


@pytest.fixture(scope="session")
def double() -> Iterator[tuple[AWSDouble, str]]:
    aws = AWSDouble()
    yield aws, aws.start()
    aws.stop()


POLICY = 'path "secret/data/litellm/*" { capabilities = ["read"] }'


def vault_scene(bao: OpenBao, folder: Path, auth: str = "{method: token, token: env:VAULT_TOKEN}", more: str = "") -> Scene:
    role = bao.app_role(POLICY, name="reader")
    scene = Scene(
        folder / "keyturn.yaml",
        {
            "VAULT_TOKEN": bao.token(POLICY, name="reader"),
            "VAULT_ROLE_ID": role.role_id,
            "VAULT_SECRET_ID": role.secret_id,
        },
    )
    scene.config.write_text(CONFIG.format(store=f'{{kind: vault_kv2, address: "{bao.address}", auth: {auth}{more}}}'))
    write = bao.root.secrets.kv.v2.create_or_update_secret
    write("litellm/providers", {"OPENAI_API_KEY": scene.keys["OPENAI_API_KEY"], "OTHER": "x", "n": 1})
    write("litellm/whole", {"key": scene.keys["WHOLE_KEY"]})
    return scene


def aws_scene(url: str, folder: Path, session: bool = False) -> Scene:
    folder.mkdir(exist_ok=True)
    variables = {"AWS_KEY": "id" + secrets.token_hex(8), "AWS_SECRET": secrets.token_hex(16), "HOME": str(folder)}
    given = "access_key_id: env:AWS_KEY, secret_access_key: env:AWS_SECRET"
    if session:
        given += ", session_token: env:SESSION"
        variables["SESSION"] = secrets.token_hex(16)
    # Names of ours that begin as AWS's own would be doubtful, and are read by the full path.
    variables = {name.replace("AWS_", "OUR_"): value for name, value in variables.items()}
    given = given.replace("AWS_", "OUR_")
    scene = Scene(folder / "keyturn.yaml", variables)
    scene.config.write_text(
        CONFIG.format(store=f'{{kind: aws_secrets_manager, region: us-east-1, endpoint_url: "{url}", {given}}}')
    )
    values = {
        "litellm/providers": json.dumps({"OPENAI_API_KEY": scene.keys["OPENAI_API_KEY"], "OTHER": "x"}),
        "litellm/whole": scene.keys["WHOLE_KEY"],
    }
    put(url, values)
    return scene


def put(url: str, values: Mapping[str, str]) -> None:
    """Into AWS's double, by the secrets' names."""
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x"
    )
    for name, value in values.items():
        try:
            client.create_secret(Name=name, SecretString=value)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=value)
    client.close()


def with_a_pair(scene: Scene, url: str, text: str | None = None) -> Scene:
    """A scene of AWS's with one more key, of two parts; `text` in its place."""
    pair, config = text or new_pair().reveal(), scene.config.read_text()
    more = (
        config[config.index("  openai-whole:") :].replace("openai-whole", "bedrock").replace("litellm/whole", "litellm/pair")
    )
    provider = "providers:\n  iam: {kind: aws_access_key, region: us-east-1, user_name: litellm}\n"
    named = more.replace("provider: org", "provider: iam").replace("    env: WHOLE_KEY\n", "")
    scene.config.write_text(config.replace("providers:\n", provider, 1) + named)
    scene.keys[BOTH] = pair
    put(url, {"litellm/pair": pair})
    return scene
