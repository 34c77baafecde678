"""Tokens on a key ring: replaced well before their end, kept while they live, and never given out after it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from keyturn.delivery.keyring import KeyRing
from keyturn.delivery.keyring_control import RingMember
from keyturn.delivery.keyring_litellm import STALE, LiteLLMCredentials
from keyturn.delivery.keys import Variable
from keyturn.errors import DeniedError, StaleKeyError, UnavailableError
from tests.delivery.ring_scene import FRESHNESS, Shop, Time, settle, timing
from tests.delivery.test_keyring_litellm import library
from tests.delivery.test_supervisor import traces
from tests.delivery.token_scene import LIFE, NAME, Mint

DOWN = UnavailableError("the token endpoint is down")


class TimedMint(Mint):
    """Its clock is the ring's."""

    def __init__(self, time: Time, **settings: Any) -> None:
        super().__init__(**settings)
        self._time, self._begun = time, self.now - timedelta(seconds=time.now)

    def clock(self) -> datetime:
        return self._begun + timedelta(seconds=self._time.now)


def ring_over(time: Time, mint: Mint, chance: float = 0.0, shop: Shop | None = None) -> KeyRing:
    @asynccontextmanager
    async def sources() -> AsyncIterator[list[Variable]]:
        yield [mint.variable(), *([Variable("openai-prod", "OPENAI_API_KEY", shop.read)] if shop else [])]

    return KeyRing(sources, FRESHNESS, **timing(time, chance))


async def test_a_token_is_replaced_after_two_thirds_of_its_life_and_not_read_before() -> None:
    time = Time()
    mint = TimedMint(time)
    async with ring_over(time, mint) as ring:
        await time.advance(2399)
        assert len(mint.made) == 1
        await time.advance(2)
        assert len(mint.made) == 2
        assert ring.get(NAME) == mint.made[1].material.reveal()
        for _ in range(40):  # hours of it: at no time is what is given out about to end
            await time.advance(600)
            given = next(each for each in mint.made if each.material.reveal() == ring.get(NAME))
            assert given.ends - mint.clock() > timedelta(seconds=30)
        assert len(mint.made) < 16


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 2400), (1.0, 2160)])
async def test_jitter_makes_it_earlier_never_later(chance: float, seconds: float) -> None:
    time = Time()
    mint = TimedMint(time)
    async with ring_over(time, mint, chance):
        await time.advance(seconds - 1)
        assert len(mint.made) == 1
        await time.advance(67)  # it is looked at once in an interval at least
        assert len(mint.made) == 2


async def test_an_outage_takes_no_token_that_lives_and_a_dead_one_is_never_given_out() -> None:
    time = Time()
    stale: list[str] = []
    mint = TimedMint(time)
    async with ring_over(time, mint) as ring:
        ring.on_stale(stale.append)
        first = ring.get(NAME)
        await time.advance(2300)
        mint.failure = DOWN
        await time.advance(3569 - 2300)
        assert ring.get(NAME) == first
        assert RingMember(ring).status()["leases"]["azure"]["failure"] == "UnavailableError"
        await time.advance(5)
        with pytest.raises(StaleKeyError, match="token that has ended"):
            ring.get(NAME)
        assert stale == [NAME]
        assert "azure" not in RingMember(ring).status()["versions"]
        mint.failure = None
        await time.advance(66)
        assert ring.get(NAME) == mint.made[-1].material.reveal() != first


async def test_a_denial_is_tried_again_in_time_too() -> None:
    time = Time()
    mint = TimedMint(time)
    async with ring_over(time, mint) as ring:
        mint.failure = DeniedError("not for you")
        await time.advance(3000)
        mint.failure = None
        await time.advance(66)
        assert ring.get(NAME) == mint.made[1].material.reveal()


async def test_the_end_holds_though_nobody_refreshes() -> None:
    time = Time()
    mint = TimedMint(time)
    async with ring_over(time, mint) as ring:
        ring.get(NAME)
        time.now += 3571  # the machine slept, and no task has run yet
        with pytest.raises(StaleKeyError):
            ring.get(NAME)
        await time.advance(66)
        assert ring.get(NAME) == mint.made[1].material.reveal()


async def test_the_same_token_again_is_asked_for_less_and_less_early_and_not_all_the_time() -> None:
    time = Time()
    mint = TimedMint(time)
    mint.same = True
    async with ring_over(time, mint) as ring:
        await time.advance(3500)
        assert 3 <= len(mint.made) <= 8
        mint.same = False
        await time.advance(60)
        assert ring.get(NAME) == mint.made[-1].material.reveal()


async def test_a_token_does_not_go_stale_like_a_key_and_the_keys_beside_it_still_do() -> None:
    time, shop = Time(), Shop()
    mint = TimedMint(time, life=timedelta(hours=12))
    async with ring_over(time, mint, shop=shop) as ring:
        shop.failure = DOWN
        await time.advance(FRESHNESS.limit + 120)
        assert ring.get(NAME) == mint.made[0].material.reveal()
        with pytest.raises(StaleKeyError, match="confirmed by its store"):
            ring.get("OPENAI_API_KEY")


async def test_stats_and_prometheus_tell_how_long_it_lives_and_not_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    time, shop = Time(), Shop()
    mint = TimedMint(time)
    async with ring_over(time, mint, shop=shop) as ring:
        await time.advance(100)
        told = ring.stats()["keys"]
        assert told[NAME]["left_seconds"] == LIFE.total_seconds() - 30 - 100
        assert datetime.fromisoformat(told[NAME]["ends"]) == mint.made[0].ends
        assert "left_seconds" not in told["OPENAI_API_KEY"]
        assert f'keyturn_keyring_left_seconds{{key="{NAME}"}} 3470.0' in ring.prometheus()
        await time.advance(3000)
        mint.failure = DOWN
        await time.advance(3600)
        everything = f"{caplog.text} {ring.stats()} {ring.prometheus()} {ring!r} {RingMember(ring).status()}"
        assert traces(everything, [each.material for each in mint.made]) == []


async def test_litellm_is_given_entras_token_as_what_it_is() -> None:
    time, shop = Time(), Shop()
    mint = TimedMint(time)
    async with ring_over(time, mint, shop=shop) as ring:
        litellm = library()
        LiteLLMCredentials(ring).install(litellm)
        values = {each.credential_name: each.credential_values for each in litellm.credential_list}
        assert dict(values[NAME].items()) == {"azure_ad_token": mint.made[0].material.reveal()}
        assert dict(values["OPENAI_API_KEY"].items()) == {"api_key": shop.held.material.reveal()}
        await time.advance(2401)
        assert dict(values[NAME].items()) == {"azure_ad_token": mint.made[1].material.reveal()}
        mint.failure = DOWN
        await time.advance(3600)
        await settle()
        with pytest.raises(StaleKeyError):
            values[NAME].items()
        assert dict.__getitem__(values[NAME], "azure_ad_token") == STALE
