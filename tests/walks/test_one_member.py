"""A key that passes the canary and works in every member but one: no user meets it there, and all goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keyturn.testing.embedded import VAULT
from keyturn.testing.loopback import LoopbackServer
from tests.walks.gate import Gate
from tests.walks.walk import Walk, Way

pytestmark = pytest.mark.real

ROLLED_BACK = 7


async def test_a_key_that_one_member_may_not_use_stops_the_roll_there_and_no_request_fails(
    walks: Callable[..., Walk],
) -> None:
    walk = walks(credentials=(VAULT,), members=3, proxy="stand-in")
    walk.start_vault()
    walk.write_configuration()
    old = walk.fingerprint(VAULT)
    gate = Gate(walk.provider_url, {old})
    with LoopbackServer(gate.app) as server:
        options = ("--prove-timeout", "4s")
        walk.start_proxies([Way(options), Way(options, api_base=f"{server.url}/v1"), Way(options)])
        async with walk.under_traffic(least=20):
            code, out = await asyncio.to_thread(walk.keyturn, "rotate", VAULT.name)
            assert code == ROLLED_BACK, out
            assert walk.on_the_wire(VAULT) == [old] * 3
    assert walk.fingerprint(VAULT) == old
    assert gate.turned_away > 0, "the new key was tried there"
    second, third = (url.removeprefix("http://") for url in walk.member_urls[1:])
    said = " ".join(out.split())
    assert (
        f"{second} came back without the new key: the new key does not work here: {VAULT.name}: the provider forbids" in said
    )
    assert f"{third}: rolling" not in said
    assert [walk.member_status(n)["starts"] for n in range(3)] == [3, 3, 1], "there and back, there and back, never moved"
    for n in range(3):
        status = walk.member_status(n)
        assert (status["state"], status["versions"][VAULT.name]["fingerprint"]) == ("serving", old)
    assert walk.leaks() == []
