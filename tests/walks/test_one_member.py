"""A key that passes the canary and works in every member but one: no user meets it there, and all goes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import VAULT
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import OpenAISimulator
from keyturn.testing.world import new_key
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


@pytest.mark.timeout(1800)
async def test_all_go_back_where_one_member_calls_another_place_and_where_the_address_of_one_is_blocked(
    walks: Callable[..., Walk],
) -> None:
    """One key, tried twice. First a member with a wrong `api_base` does not take it: who is there knows the old key alone.
    Then the provider does not let it in from the address of the first member."""
    walk = walks(credentials=(VAULT,), members=3, proxy="litellm")
    walk.start_vault()
    _with_the_canary_at_the_last_member(walk)
    old = walk.fingerprint(VAULT)
    with OpenAISimulator(_who_knows(KeyMaterial(walk.current(VAULT)))) as elsewhere:
        in_haste = ("--prove-timeout", "15s")
        walk.start_proxies([Way(in_haste, address="203.0.113.7"), Way(in_haste, api_base=elsewhere.base_url), Way()])
        async with walk.under_traffic(least=20):
            said = await _goes_back(walk, old, starts=[3, 3, 1])
            assert _stopped_at(walk, 1, said) == "the provider refuses the key (401, through LiteLLM)"
            (new,) = [key for key in walk.provider_keys() if key["fingerprint"] != old]
            turned_away = [call for call in elsewhere.organization.calls if call.fingerprint == new["fingerprint"]]
            assert {call.outcome for call in turned_away} == {"rejected"}, "the new key was tried there"

            blocked = {"operation": "chat", "kind": "status", "status": 401, "code": "ip_not_authorized", "times": None}
            walk.tell_provider("faults", **blocked, key_id=new["id"], address="203.0.113.7")
            said = await _goes_back(walk, old, starts=[5, 3, 1])
            # LiteLLM does not hand on the provider's code.
            assert "refuses the key" not in _stopped_at(walk, 0, said), "an address that is not let in is no dead key"
            log = walk.ask_provider("log", operation="chat", fingerprint=new["fingerprint"])
            assert log["keys"][new["fingerprint"]]["failed"] > 0, "the new key was tried there"
    assert len(walk.provider_keys()) == 2, "the same key was tried again"
    assert walk.leaks() == []


def _with_the_canary_at_the_last_member(walk: Walk) -> None:
    """So that the new key passes it: the other members are those where the key does not work."""
    walk.write_configuration(canary={"proxy": "apart", "model": VAULT.model})
    content: dict[str, Any] = json.loads(walk.config.read_text())
    proxies = content["proxies"]
    proxies["apart"] = {**proxies["local"], "members": proxies["local"]["members"][-1:]}
    walk.config.write_text(json.dumps(content))


def _who_knows(key: KeyMaterial) -> Organization:
    there = Organization(new_key())
    there.add_key(there.add_project().id, "by hand", material=key)
    return there


async def _goes_back(walk: Walk, old: str, starts: Sequence[int]) -> str:
    """What a rotation says that is taken back. `starts`: of each member's program until now."""
    code, out = await asyncio.to_thread(walk.keyturn, "rotate", VAULT.name)
    assert code == ROLLED_BACK, out
    assert walk.fingerprint(VAULT) == old
    assert walk.on_the_wire(VAULT) == [old] * walk.members
    found = [walk.member_status(n) for n in range(walk.members)]
    assert [each["starts"] for each in found] == starts
    assert {(each["state"], each["versions"][VAULT.name]["fingerprint"]) for each in found} == {("serving", old)}
    return " ".join(out.split())


def _stopped_at(walk: Walk, bad: int, said: str) -> str:
    """Why the new key does not work there. No member after it was rolled."""
    names = [url.removeprefix("http://") for url in walk.member_urls]
    for name in names[bad + 1 :]:
        assert f"{name}: rolling" not in said
    assert f"{names[bad]}: rolling" in said
    words = f"{names[bad]} came back without the new key: the new key does not work here: {VAULT.name}: "
    assert words in said
    return said.partition(words)[2].partition(";")[0]
