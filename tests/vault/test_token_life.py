"""Real tokens that live for seconds: a rotation outlives them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from keyturn.errors import DeniedError
from keyturn.model import SecretRef
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.stores.vault_policy import policy
from keyturn.testing.store_scene import new_key, new_token
from keyturn.vault.permissions import LASTS, LOGS_IN
from tests.vault.conftest import Server, Watched, client

pytestmark = pytest.mark.real

APP_ROLE = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}
STATIC = {"method": "token", "token": "env:TOKEN"}
LOOKUP = "auth/token/lookup-self"


def short(server: Server, name: str, ttl: str, max_ttl: str, **role: object) -> dict[str, str]:
    """Ids of a role whose tokens live for `ttl`, and after renewals for `max_ttl`."""
    made = server.bao.app_role('path "nothing/*" { capabilities = ["read"] }', name=name)
    roles = server.bao.root.auth.approle
    roles.create_or_update_approle(name, token_policies=[name], token_ttl=ttl, token_max_ttl=max_ttl, **role)
    return {"ROLE": made.role_id, "SECRET": made.secret_id}


@pytest.fixture
async def opened(server: Server) -> AsyncIterator[list[Watched]]:
    made: list[Watched] = []
    yield made
    for each in made:
        await each.aclose()


async def until(vault: Watched, path: str, count: int) -> None:
    """Use the token as long as it takes. It must be alive all the time: a new login after a refusal is not what is meant."""
    async with asyncio.timeout(60):
        while vault.count(path) < count:
            await vault.request("GET", LOOKUP)
            await asyncio.sleep(0.05)


async def test_a_token_is_renewed_in_time_and_stays_the_same(server: Server, opened: list[Watched]) -> None:
    vault = client(server.bao.address, APP_ROLE, short(server, "renewed-in-time", "2s", "60s"))
    opened.append(vault)
    await vault.request("GET", LOOKUP)
    first = await vault._tokens.get()
    await until(vault, "auth/token/renew-self", 3)  # its first life has been over for a while
    assert await vault._tokens.get() == first
    assert vault.count("auth/approle/login") == 1


async def test_at_its_max_ttl_it_is_replaced_before_it_ends(server: Server, opened: list[Watched]) -> None:
    vault = client(server.bao.address, APP_ROLE, short(server, "capped", "2s", "3s"))
    opened.append(vault)
    await until(vault, "auth/approle/login", 3)
    answered = [each for each in vault.sent if each.endswith(LOOKUP)]
    assert len(answered) > 3
    assert vault.count("auth/token/renew-self") >= 2


async def test_a_batch_token_is_replaced_before_it_ends(server: Server, opened: list[Watched]) -> None:
    environ = short(server, "batch", "2s", "2s", token_type="batch")
    vault = client(server.bao.address, APP_ROLE, environ)
    opened.append(vault)
    await until(vault, "auth/approle/login", 3)
    assert vault.count("auth/token/renew-self") == 0


async def test_many_calls_at_once_cause_one_renewal(server: Server, opened: list[Watched]) -> None:
    environ, now = short(server, "at-once", "30s", "60s"), [0.0]
    settings = client(server.bao.address, APP_ROLE, environ)._settings
    vault = Watched(settings, resolver(environ=environ), lambda: now[0])
    opened.append(vault)
    await asyncio.gather(*(vault.request("GET", LOOKUP) for _ in range(10)))
    now[0] = 21
    await asyncio.gather(*(vault.request("GET", LOOKUP) for _ in range(10)))
    assert (vault.count("login"), vault.count("renew-self"), vault.count(LOOKUP)) == (1, 1, 20)


async def test_a_rotation_outlives_its_tokens(server: Server, opened: list[Watched]) -> None:
    """Each of its steps comes when the token of the one before is dead."""
    path = f"long-{secrets.token_hex(4)}"
    server.bao.root.secrets.kv.v2.create_or_update_secret(path, {"key": new_key().reveal()})
    environ = short(server, "long", "1s", "1s")
    server.bao.root.sys.create_or_update_policy("long", policy(path))
    settings = {"address": server.bao.address, "auth": APP_ROLE}
    store = VaultKV2(VaultKV2.Settings.model_validate(settings), resolver(environ=environ))
    seen: list[str] = []

    async def next_life() -> None:
        """Until the server has forgotten the token of the last step."""
        token = await store._vault._tokens.get()
        seen.append(token.fingerprint())
        outsider = client(server.bao.address, STATIC, {"TOKEN": token.reveal()})
        opened.append(outsider)
        async with asyncio.timeout(30):
            while True:
                try:
                    await outsider.request("GET", LOOKUP)
                except DeniedError:
                    return
                await asyncio.sleep(0.1)

    secret, key = SecretRef("vault", path), new_key()
    old = (await store.current(secret)).version
    await next_life()
    new = await store.stage(secret, key, new_token())
    await next_life()
    await store.annotate(secret, {"attempt": "1"})
    await next_life()
    await store.promote(secret, new, old)
    await next_life()
    await store.bar(secret, old)
    await next_life()
    await store.discard(secret, old)
    assert (await store.current(secret)).material == key
    assert len(set(seen)) == len(seen) == 5
    await store.aclose()


async def test_what_preflight_says_of_a_token(server: Server, opened: list[Watched]) -> None:
    root = server.bao.root

    async def told(auth: dict[str, str], environ: dict[str, str]) -> tuple[str, bool | None, str]:
        vault = client(server.bao.address, auth, environ)
        opened.append(vault)
        (finding,) = await vault.about_token()
        return finding.what, finding.ok, finding.detail + finding.remedy

    def token(**options: object) -> dict[str, str]:
        return {"TOKEN": root.auth.token.create(**options)["auth"]["client_token"]}

    assert await told(STATIC, {"TOKEN": root.token}) == (LASTS, True, "it does not end")
    what, ok, says = await told(STATIC, token(ttl="5m"))
    assert (what, ok) == (LASTS, False)
    assert "vault token renew" in says and "the token that made it" in says
    assert (await told(STATIC, token(ttl="1h", renewable=False)))[1] is None
    assert (await told(STATIC, token(period="1h")))[1] is True
    assert (await told(STATIC, token(ttl="1h", num_uses=9)))[1] is False
    root.sys.create_or_update_policy("blind", 'path "nothing/*" { capabilities = ["read"] }')
    blind = token(ttl="5m", policies=["blind"], no_default_policy=True)
    assert (await told(STATIC, blind))[1] is None
    what, ok, says = await told(APP_ROLE, short(server, "told", "1m", "1m"))
    assert (what, ok) == (LOGS_IN, True)
    assert "1m" in says and "told" in says
    what, ok, says = await told(APP_ROLE, {"ROLE": "none", "SECRET": "none"})
    assert (what, ok) == (LOGS_IN, False)
