"""The least policies for Vault: a whole life of a credential under them, and none without any one line."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from keyturn.errors import DeniedError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.stores.vault_policy import Rule, proxy_rules, rotator_rules, text
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from tests.policies.rotations import Life, PendingError, outcome_of
from tests.steps.plain_flows import plainly

pytestmark = pytest.mark.real

FIELDS = ["OPENAI_API_KEY", None]


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    folder = tmp_path_factory.mktemp("openbao")
    processes = Processes(folder)
    try:
        server = OpenBao(processes, folder)
        server.enable_kv("kv")
        yield server
    finally:
        processes.stop()


def token(server: OpenBao, rules: list[Rule]) -> str:
    """May do this and nothing else: the policy `default` is not added."""
    name = f"rules-{secrets.token_hex(6)}"
    server.root.sys.create_or_update_policy(name, text(rules))
    made = server.root.auth.token.create(policies=[name], no_default_policy=True)
    return str(made["auth"]["client_token"])


@asynccontextmanager
async def life(server: OpenBao, field: str | None, without: tuple[str, str] = ("", "")) -> AsyncIterator[Life]:
    """One life under the rules. `without`: of which rule (by its last word), which capability is taken away."""
    secret = SecretRef("vault", f"team/{secrets.token_hex(6)}/providers", field)
    opened = []

    def store(rules: list[Rule]) -> VaultKV2:
        settings = {"address": server.address, "mount": "kv", "auth": {"method": "token", "token": "env:TOKEN"}}
        adapter = VaultKV2(
            VaultKV2.Settings.model_validate(settings), resolver(environ={"TOKEN": token(server, rules) if rules else "x"})
        )
        opened.append(adapter)
        return adapter

    rules = [
        Rule(rule.path, tuple(each for each in rule.capabilities if (rule.what, each) != without), rule.what)
        for rule in rotator_rules("kv", "keyturn", [secret])
    ]
    made = Life(secret, store([rule for rule in rules if rule.capabilities]), store(proxy_rules("kv", [secret])))
    fields = {field or "key": made.first.material.reveal(), **({"OTHER": "untouched"} if field else {})}
    await asyncio.to_thread(server.root.secrets.kv.v2.create_or_update_secret, secret.path, fields, mount_point="kv")
    try:
        with plainly():
            yield made
    finally:
        for each in opened:
            await each.aclose()


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
async def test_a_whole_life_under_the_least_policy(openbao: OpenBao, field: str | None) -> None:
    async with life(openbao, field) as made:
        assert await outcome_of(made) is None
        assert (await made.store.current(made.secret)).version == next(iter(made.fleet.loaded.values()))


LINES = [
    (rule.what, capability)
    for rule in rotator_rules("kv", "keyturn", [SecretRef("vault", "path", "FIELD")])
    for capability in rule.capabilities
]


@pytest.mark.parametrize("field", FIELDS, ids=["field", "whole"])
@pytest.mark.parametrize("line", LINES, ids=[f"{what}: {capability}" for what, capability in LINES])
async def test_without_any_one_line_it_breaks(openbao: OpenBao, field: str | None, line: tuple[str, str]) -> None:
    async with life(openbao, field, without=line) as made:
        error = await outcome_of(made)
        assert isinstance(error, DeniedError | PendingError), f"it goes well without {line}: {error}"
        assert line[1] in re.findall(r"\w+", str(error))
