"""What `keyturn agent-config` writes, given to a real `bao agent`: odd names and odd values come out as they went in."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from keyturn.config import parse
from keyturn.delivery.agent import Choices, Plan, vault_agent
from keyturn.delivery.agent.vault_agent import policy
from keyturn.delivery.env_file import EnvFile
from keyturn.delivery.keys import Variable
from keyturn.delivery.variables import names
from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey
from keyturn.testing.bao_agent import log_in_with, start_agent
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from tests.delivery.agent.written import configuration
from tests.delivery.pairs import ID, new_pair, parts_of
from tests.delivery.supervised import new_key, until

pytestmark = pytest.mark.real

PATH = "team/a+b=c@d:e!f/x"
SECRETS = {
    "plain": {"store": "vault", "path": PATH, "field": "OPENAI_API_KEY"},
    "odd": {"store": "vault", "path": PATH, "field": "9.odd-field"},
    "whole": {"store": "vault", "path": "litellm/GEMINI_API_KEY"},
}
NAMES = {name: f"K_{name.upper()}" for name in SECRETS}
VALUES = ["it's", 'say "x"', "back\\slash", "end\\", "$HOME ${HOME}", "{{ .Data }} {{/* x */}}", "a#b", "<no>&amp;", "ü€"]


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    processes = Processes(tmp_path_factory.mktemp("openbao"))
    try:
        server = OpenBao(processes, processes.logs)
        server.enable_kv()
        yield server
    finally:
        processes.stop()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "logs")
    yield found
    found.stop()


def put(bao: OpenBao, keys: dict[str, str], namespace: str | None = None) -> None:
    bao.root.adapter.namespace = namespace
    write = bao.root.secrets.kv.v2.create_or_update_secret
    write(PATH, secret={"OPENAI_API_KEY": keys["plain"], "9.odd-field": keys["odd"]}, mount_point="secret")
    write("litellm/GEMINI_API_KEY", secret={"key": keys["whole"]}, mount_point="secret")
    bao.root.adapter.namespace = None


def plan(bao: OpenBao, rendered: Path, logins: Path, **store: Any) -> Plan:
    choices = Choices(interval=timedelta(seconds=1), rendered=PurePosixPath(rendered), logins=PurePosixPath(logins))
    text = configuration(SECRETS, NAMES, address=bao.address, **store)
    return Plan.of(parse(text), "local", ("vault_kv2",), choices)


def has(path: Path, keys: dict[str, str]) -> Callable[[], bool]:
    """Whether the file has exactly these, as a member reads it."""

    def look() -> bool:
        try:
            return all(EnvFile([path]).key(NAMES[name]).material.reveal() == keys[name] for name in keys)
        except KeyturnError:
            return False

    return look


def test_odd_names_and_values_are_rendered_as_they_are_and_again_when_they_change(
    bao: OpenBao, processes: Processes, tmp_path: Path
) -> None:
    logins, rendered = tmp_path / "log ins", tmp_path / 'a "b" ${c \\d é' / "keys.env"
    what = plan(bao, rendered, logins)
    log_in_with(bao.app_role(policy(what), "odd"), logins)
    keys = {name: new_key().reveal() for name in SECRETS}
    put(bao, keys)
    config = tmp_path / "agent.hcl"
    config.write_text(vault_agent(what)["agent.hcl"])
    agent = start_agent(processes, config)
    asyncio.run(until(has(rendered, keys)))
    assert stat.S_IMODE(rendered.stat().st_mode) == 0o600
    for value in VALUES:
        keys = {name: f"{name}-{new_key().reveal()}-{value}" for name in SECRETS}
        put(bao, keys)
        asyncio.run(until(has(rendered, keys)))
    assert agent.poll() is None


def test_a_field_that_is_gone_leaves_the_old_file_or_no_value(bao: OpenBao, processes: Processes, tmp_path: Path) -> None:
    rendered, config = tmp_path / "keys.env", tmp_path / "agent.hcl"
    what = plan(bao, rendered, tmp_path)
    log_in_with(bao.app_role(policy(what), "gone"), tmp_path)
    keys = {name: new_key().reveal() for name in SECRETS}
    put(bao, keys)
    config.write_text(vault_agent(what)["agent.hcl"])
    start_agent(processes, config)
    asyncio.run(until(has(rendered, keys)))

    write = bao.root.secrets.kv.v2.create_or_update_secret
    write(PATH, secret={"OPENAI_API_KEY": keys["plain"]}, mount_point="secret")
    asyncio.run(until(lambda: not has(rendered, keys)()))
    assert has(rendered, {name: keys[name] for name in ("plain", "whole")})()
    with pytest.raises(KeyturnError, match="has no value for K_ODD"):
        EnvFile([rendered]).key("K_ODD")

    before = rendered.read_text()
    write(PATH, secret={"9.odd-field": keys["odd"]}, mount_point="secret")
    log = processes.logs / "agent.log"
    asyncio.run(until(lambda: "map has no entry" in log.read_text() or "missing" in log.read_text()))
    assert rendered.read_text() == before


def test_a_namespace_is_where_the_agent_logs_in_and_reads(bao: OpenBao, processes: Processes, tmp_path: Path) -> None:
    bao.root.adapter.post("/v1/sys/namespaces/team")
    rendered, config = tmp_path / "keys.env", tmp_path / "agent.hcl"
    what = plan(bao, rendered, tmp_path, namespace="team")
    bao.root.adapter.namespace = "team"
    bao.enable_kv()
    role = bao.app_role(policy(what), "inside")
    keys = {name: new_key().reveal() for name in SECRETS}
    put(bao, keys, "team")
    log_in_with(role, tmp_path)
    config.write_text(vault_agent(what)["agent.hcl"])
    start_agent(processes, config)
    asyncio.run(until(has(rendered, keys)))


PAIR = """
providers:
  iam: {{kind: aws_access_key, region: us-east-1, user_name: litellm}}
stores:
  vault: {{kind: vault_kv2, address: "{address}", auth: {{method: approle, role_id: env:ROLE_ID, secret_id: env:SECRET_ID}}}}
proxies:
  local: {{kind: process, members: ["http://127.0.0.1:4001"], master_key: env:LITELLM_MASTER_KEY}}
credentials:
  bedrock-prod:
    provider: iam
    secrets: [{{store: vault, path: litellm/pair, field: BEDROCK}}]
    canary: {{proxy: local, model: m}}
    proxies: [local]
"""
PAGE = (Path(__file__).parents[3] / "docs" / "vault-agent.md").read_text()


def test_a_key_of_several_parts_is_rendered_whole_and_a_template_of_ones_own_may_take_a_part(
    bao: OpenBao, processes: Processes, tmp_path: Path
) -> None:
    rendered, own, config = tmp_path / "keys.env", tmp_path / "own.env", tmp_path / "agent.hcl"
    choices = Choices(interval=timedelta(seconds=1), rendered=PurePosixPath(rendered), logins=PurePosixPath(tmp_path))
    what = Plan.of(parse(PAIR.format(address=bao.address)), "local", ("vault_kv2",), choices)
    log_in_with(bao.app_role(policy(what), "pair"), tmp_path)
    line = re.findall(r"Vault Agent, the injector \| `(.+?)` \|", PAGE)[0].replace("\\|", "|")
    contents = f'{{{{ with secret "secret/data/litellm/pair" }}}}{line}\n{{{{ end }}}}'
    more = f'\ntemplate {{\n  destination = "{own}"\n  contents = <<OWN\n{contents}\nOWN\n}}\n'
    config.write_text(vault_agent(what)["agent.hcl"] + more)
    (variable,) = EnvFile([rendered]).variables(names(parse(PAIR.format(address=bao.address)), "local"))
    agent = None
    for pair in (new_pair(), new_pair()):
        bao.root.secrets.kv.v2.create_or_update_secret(
            "litellm/pair", secret={"BEDROCK": pair.reveal()}, mount_point="secret"
        )
        agent = agent or start_agent(processes, config)

        def there(pair: KeyMaterial = pair) -> bool:
            id = parts_of(pair)[ID]
            return own.exists() and own.read_text().strip() == f"{ID}='{id}'" and pair.reveal() in rendered.read_text()

        asyncio.run(until(there))
        found = asyncio.run(read(variable))
        assert (found.material, found.version.fingerprint) == (pair, pair.fingerprint())
        assert {name: text.reveal() for name, text in variable.names.given(found.material).items()} == parts_of(pair)
    assert agent is not None and agent.poll() is None


async def read(variable: Variable) -> HeldKey:
    return await variable.read()
