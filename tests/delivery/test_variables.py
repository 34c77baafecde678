"""Which keys a proxy is given, under which names, and what it is not given."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.config import parse
from keyturn.delivery.variables import own_secrets, variables
from keyturn.errors import MisconfiguredError
from keyturn.model import SecretRef, VersionRef
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import new_key

CONFIG = """
providers:
  openai-org: {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc}
stores:
  vault: {kind: vault_kv2, address: "http://127.0.0.1:8200", auth: {method: token, token: env:VAULT_TOKEN}}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], control_token: env:CONTROL, master_key: env:MASTER}
  other: {kind: process, members: ["http://127.0.0.1:4002"], control_token: env:CONTROL_2, master_key: env:MASTER_2}
credentials:
  one:
    provider: openai-org
    secrets: [{store: vault, path: litellm/providers, field: OPENAI_API_KEY}]
    canary: {proxy: local, model: m}
    proxies: [local]
  two:
    provider: openai-org
    secrets: [{store: vault, path: litellm/second}]
    canary: {proxy: local, model: m}
    proxies: [local, other]
    env: SECOND_KEY
"""


def names(source: str, proxy: str) -> dict[str, str]:
    store: Any = MemoryStore()
    return {variable.name: variable.credential for variable in variables(parse(source), proxy, lambda _: store)}


def test_a_field_an_env_and_the_providers_name_in_that_order() -> None:
    assert names(CONFIG, "local") == {"OPENAI_API_KEY": "one", "SECOND_KEY": "two"}
    assert names(CONFIG.replace("    env: SECOND_KEY\n", ""), "other") == {"OPENAI_API_KEY": "two"}


def test_two_keys_of_one_name_are_refused_with_what_to_write() -> None:
    with pytest.raises(MisconfiguredError, match=r"one and two would both be \$OPENAI_API_KEY.*env: NAME"):
        names(CONFIG.replace("    env: SECOND_KEY\n", ""), "local")


def test_proxies_that_nothing_names_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match="use one of: local, other"):
        names(CONFIG, "locl")
    with pytest.raises(MisconfiguredError, match="no credential names other"):
        names(CONFIG.replace("proxies: [local, other]", "proxies: [local]"), "other")


def test_a_proxy_is_not_given_keyturns_own_credentials_but_its_master_key() -> None:
    assert own_secrets(parse(CONFIG), "local") == {
        "OPENAI_ADMIN_KEY",
        "VAULT_TOKEN",
        "CONTROL",
        "CONTROL_2",
        "MASTER_2",
    }


async def test_a_variable_reads_the_current_value_anew_each_time() -> None:
    first, second = new_key(), new_key()
    store = MemoryStore({"litellm/providers": {"OPENAI_API_KEY": first.reveal()}, "litellm/second": "x"})
    reader = next(v for v in variables(parse(CONFIG), "local", lambda _: store) if v.credential == "one")
    assert (await reader.read()).material == first
    secret = SecretRef("vault", "litellm/providers", "OPENAI_API_KEY")
    staged = await store.stage(secret, second, "00000000-0000-4000-8000-000000000001")
    await store.promote(secret, staged, (await store.current(secret)).version)
    assert (await reader.read()).material == second


async def test_a_store_that_tells_of_changes_is_listened_to_and_another_is_not() -> None:
    asked: list[object] = []

    class Telling(MemoryStore):
        async def changed(self, secret: SecretRef, since: VersionRef) -> None:
            asked.append((secret, since))

    telling = Telling()
    found = {each.credential: each for each in variables(parse(CONFIG), "local", lambda _: telling)}
    wait, since = found["one"].changed, VersionRef("1", "f")
    assert wait is not None
    await wait(since)
    assert asked == [(SecretRef("vault", "litellm/providers", "OPENAI_API_KEY"), since)]
    assert {each.changed for each in variables(parse(CONFIG), "local", lambda _: MemoryStore())} == {None}
