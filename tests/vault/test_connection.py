"""Namespaces, and TLS with an authority that no system knows: on a real server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.testing.store_scene import new_key, new_token, refused
from tests.vault.certificates import authority
from tests.vault.conftest import Server

pytestmark = pytest.mark.real

SECRET = SecretRef("vault", "providers", "OPENAI_API_KEY")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def store(stack: AsyncExitStack, address: str, auth: dict[str, str], environ: dict[str, str], **settings: Any) -> VaultKV2:
    found = VaultKV2.Settings.model_validate({"address": address, "auth": auth, **settings})
    made = VaultKV2(found, resolver(environ=environ))
    stack.push_async_callback(made.aclose)
    return made


class Namespace:
    """One of its own, with an engine, a secret, and an AppRole of the same names as another one's."""

    def __init__(self, server: Server, name: str) -> None:
        self.name, self.value = name, new_key()
        self._server = server
        parent, _, _ = name.rpartition("/")
        self._call("POST", f"sys/namespaces/{name.rpartition('/')[2]}", namespace=parent)
        self._call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self._call("POST", "secret/data/providers", {"data": {"OPENAI_API_KEY": self.value.reveal()}})
        everything = 'path "*" { capabilities = ["create", "read", "update", "patch"] }'
        self._call("POST", "sys/policies/acl/all", {"policy": everything})
        self._call("POST", "sys/auth/approle", {"type": "approle"})
        self._call("POST", "auth/approle/role/keyturn", {"token_policies": ["all"], "token_ttl": "1m"})
        role = self._call("GET", "auth/approle/role/keyturn/role-id")["data"]["role_id"]
        secret = self._call("POST", "auth/approle/role/keyturn/secret-id")["data"]["secret_id"]
        self.environ = {"ROLE": role, "SECRET": secret}

    def _call(self, method: str, path: str, body: Any = None, namespace: str | None = None) -> Any:
        headers = {"X-Vault-Namespace": self.name if namespace is None else namespace}
        return self._server.bao.root.adapter.request(method, f"/v1/{path}", json=body, headers=headers)


APP_ROLE = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}


async def test_login_and_rotation_stay_in_their_namespace(server: Server, stack: AsyncExitStack) -> None:
    top = f"team-{secrets.token_hex(3)}"
    outer, inner = Namespace(server, top), Namespace(server, f"{top}/llm")
    for one in (outer, inner):
        vault = store(stack, server.bao.address, APP_ROLE, one.environ, namespace=one.name)
        held = await vault.current(SECRET)
        assert held.material == one.value
        assert [finding for finding in await vault.preflight(SECRET) if finding.ok is not True] == []
        await vault.promote(SECRET, await vault.stage(SECRET, new_key(), new_token()), held.version)
    # A slash at its end is one name for the same namespace.
    again = [store(stack, server.bao.address, APP_ROLE, one.environ, namespace=f"{one.name}/") for one in (outer, inner)]
    first, second = [(await vault.current(SECRET)).material for vault in again]
    assert first != second


async def test_the_ids_of_one_namespace_open_no_other(server: Server, stack: AsyncExitStack) -> None:
    one, other = (Namespace(server, f"team-{secrets.token_hex(3)}") for _ in range(2))
    for namespace in (other.name, None, "absent"):
        vault = store(stack, server.bao.address, APP_ROLE, one.environ, namespace=namespace)
        await refused(vault.current(SECRET), DeniedError, one.value, other.value)


async def test_a_private_authority_is_trusted_where_it_is_named(server: Server, stack: AsyncExitStack) -> None:
    environ, auth, value = {"TOKEN": str(server.bao.root.token)}, {"method": "token", "token": "env:TOKEN"}, new_key()
    server.bao.root.secrets.kv.v2.create_or_update_secret("over-tls", {"key": value.reveal()})
    secret = SecretRef("vault", "over-tls")
    trusting = store(stack, server.bao.tls_address, auth, environ, ca_file=str(server.ca))
    held = await trusting.current(secret)
    assert held.material == value
    await trusting.promote(secret, await trusting.stage(secret, new_key(), new_token()), held.version)
    unchecked = store(stack, server.bao.tls_address, auth, environ, verify=False)
    assert (await unchecked.current(secret)).version != held.version


@pytest.mark.parametrize("case", ["no ca_file", "another authority", "another name", "no certificate"])
async def test_a_certificate_that_is_not_trusted_is_told_and_gets_no_token(
    server: Server, stack: AsyncExitStack, tmp_path: Path, case: str
) -> None:
    address, ca = server.bao.tls_address, server.ca
    if case == "another authority":
        ca = authority(tmp_path)[0]
    if case == "another name":
        address = address.replace("127.0.0.1", "localhost")
    if case == "no certificate":
        ca = tmp_path / "ca.pem"
        ca.write_text("not a certificate\n")
    settings = {} if case == "no ca_file" else {"ca_file": str(ca)}
    vault = store(stack, address, {"method": "token", "token": "env:TOKEN"}, {"TOKEN": "t"}, **settings)
    error: KeyturnError = await refused(vault.current(SECRET), MisconfiguredError)
    assert "ca_file" in str(error)
