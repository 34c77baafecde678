"""A key of several parts on a ring, and in an embedded LiteLLM: both parts of one version, at every moment."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keyturn.delivery.keyring import KeyRing
from keyturn.delivery.keyring_control import RingMember
from keyturn.delivery.keyring_litellm import STALE, LiteLLMCredentials
from keyturn.delivery.keyring_probe import Probe
from keyturn.delivery.keys import Variable
from keyturn.errors import MisconfiguredError, NotFoundError, StaleKeyError, UnavailableError
from keyturn.model import HeldKey
from tests.delivery.fake_litellm import FakeLiteLLM
from tests.delivery.pairs import BOTH, ID, SECRET, new_pair, parts_of, usual_names
from tests.delivery.ring_scene import FRESHNESS, Shop, Time, held, timing


class Pairs(Shop):
    def __init__(self) -> None:
        super().__init__()
        self.turn()

    def turn(self) -> HeldKey:
        self.held = held(new_pair())
        return self.held


def ring_of(time: Time, shop: Pairs) -> KeyRing:
    @asynccontextmanager
    async def sources() -> AsyncIterator[list[Variable]]:
        yield [Variable("bedrock-prod", BOTH, shop.read, parts=usual_names().parts)]

    return KeyRing(sources, FRESHNESS, **timing(time))


def texts(shop: Pairs) -> dict[str, str]:
    parts = parts_of(shop.held.material)
    return {"aws_access_key_id": parts[ID], "aws_secret_access_key": parts[SECRET]}


async def test_each_part_is_on_the_ring_with_the_version_of_the_whole(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    time, shop = Time(), Pairs()
    async with ring_of(time, shop) as ring:
        for _ in range(2):
            parts = parts_of(shop.held.material)
            assert (ring.get(ID), ring.get(SECRET)) == ring.get_all(ID, SECRET) == (parts[ID], parts[SECRET])
            assert {ring.version(name) for name in (ID, SECRET, BOTH)} == {shop.held.version}
            assert ring.held(BOTH) == shop.held
            assert ring.names == (BOTH,)
            assert ring.names_of(BOTH).variables == (ID, SECRET)
            told = f"{ring!r} {ring.stats()} {ring.prometheus()} {caplog.text}"
            assert not [text for text in parts.values() if text in told]
            assert list(ring.stats()["keys"]) == [BOTH]
            status = RingMember(ring).status()
            assert status["versions"]["bedrock-prod"]["fingerprint"] == shop.held.material.fingerprint()
            shop.turn()
            await time.advance(60)
        assert status["rolls"] == 1
        with pytest.raises(NotFoundError):
            ring.get_all(ID, "OPENAI_API_KEY")
        time.now += 3601
        for read in (ring.get, ring.get_all):
            with pytest.raises(StaleKeyError):
                read(SECRET)


async def test_a_turn_between_two_reads_of_a_ring_tears_no_pair() -> None:
    """What `get_all` looks into is taken once: a turn while it looks changes nothing of it."""
    time, shop = Time(), Pairs()
    async with ring_of(time, shop) as ring:
        old, new, board = parts_of(shop.held.material), held(new_pair()), ring._board
        entry = ring._entries[BOTH]

        def turning() -> float:
            board.confirmed(BOTH, type(entry)(new.material, new.version, entry.confirmed, entry.limit), False)
            return time.now

        ring._clock = turning
        assert ring.get_all(ID, SECRET) == (old[ID], old[SECRET])
        assert ring.get_all(ID, SECRET) == tuple(parts_of(new.material).values())


async def test_litellm_is_given_both_parts_and_none_when_they_are_stale() -> None:
    time, shop = Time(), Pairs()
    litellm: Any = FakeLiteLLM({}, lambda key: "hello")
    async with ring_of(time, shop) as ring:
        LiteLLMCredentials(ring, {BOTH: "bedrock"}).install(litellm)
        (item,) = litellm.credential_list
        assert item.credential_name == "bedrock"
        values = item.credential_values
        assert dict(values.items()) == values.copy() == texts(shop)
        shop.turn()
        await time.advance(60)
        assert dict(values.items()) == texts(shop)
        shop.failure = UnavailableError("down")
        await time.advance(3700)
        with pytest.raises(StaleKeyError):
            values.items()
        assert {values["aws_access_key_id"], values["aws_secret_access_key"]} == {STALE}


async def test_a_turn_while_litellm_reads_tears_no_pair() -> None:
    """LiteLLM goes through the items one by one (utils.load_credentials_from_list)."""
    time, shop = Time(), Pairs()
    litellm: Any = FakeLiteLLM({}, lambda key: "hello")
    async with ring_of(time, shop) as ring:
        LiteLLMCredentials(ring).install(litellm)
        read, before = {}, texts(shop)
        for name, text in litellm.credential_list[0].credential_values.items():
            read[name] = text
            shop.turn()
            await time.advance(60)
        assert read == before


async def test_the_environment_is_refused_for_it_could_hold_parts_of_two() -> None:
    time, shop, environment = Time(), Pairs(), dict[str, str]()
    litellm: Any = FakeLiteLLM({}, lambda key: "hello")
    async with ring_of(time, shop) as ring:
        with pytest.raises(MisconfiguredError, match=f"{BOTH} has several parts"):
            LiteLLMCredentials(ring, environ=True, environment=environment).install(litellm)
    assert (environment, litellm.credential_list) == ({}, [])


def test_a_probe_takes_no_part_that_would_never_turn() -> None:
    with pytest.raises(MisconfiguredError, match="literal key"):
        Probe(FakeLiteLLM({}, lambda key: "x"), {"m": {"model": "bedrock/m", "aws_secret_access_key": "x"}})
