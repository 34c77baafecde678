"""A key ring's keys: kept fresh, kept through an outage, refused when nobody has confirmed them for too long."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import logging
import pickle
from datetime import timedelta

import pytest

from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.errors import (
    ConflictError,
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    StaleKeyError,
    ThrottledError,
    UnavailableError,
)
from tests.delivery.ring_scene import FRESHNESS, NAME, Shop, Time, ring_over, settle, timing, watching_ring
from tests.test_docs import ROOT, rows, section

DENIED = DeniedError("not for you")
DOWN = UnavailableError("the store is down")


# Fresh ------------------------------------------------------------------------------------------------------------------


async def test_a_key_that_turned_is_given_out_after_the_interval_and_its_listeners_are_told() -> None:
    time, shop, told = Time(), Shop(), []
    async with ring_over(time, {NAME: shop}) as ring:
        ring.on_change(lambda name, version: told.append((name, version)))
        assert ring.get(NAME) == shop.held.material.reveal()
        new = shop.turn()
        await time.advance(59)
        assert ring.version(NAME) != new.version
        await time.advance(1)
        assert (ring.get(NAME), ring.version(NAME)) == (new.material.reveal(), new.version)
        assert ring.material(NAME) == new.material
        assert told == [(NAME, new.version)]


async def test_the_age_counts_from_the_beginning_of_the_read_that_confirmed_it() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        await time.advance(59)
        assert ring.age(NAME) == 59
        shop.gate.clear()
        await time.advance(11)  # begun after 60
        shop.gate.set()
        await settle()
        assert ring.age(NAME) == 10


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 54.0), (0.25, 57.0), (0.5, 60.0), (1.0, 66.0)])
async def test_the_interval_is_longer_or_shorter_by_the_jitter_at_most(chance: float, seconds: float) -> None:
    time, shop = Time(), Shop()
    async with KeyRing({NAME: shop.read}, FRESHNESS, **timing(time, chance)):
        await time.advance(seconds - 0.5)
        assert shop.reads == 1
        await time.advance(0.5)
        assert shop.reads == 2


async def test_a_store_that_tells_of_a_change_is_read_at_once_and_now_and_then_anyway() -> None:
    time, shop = Time(), Shop()
    async with watching_ring(time, shop) as ring:
        await time.advance(5)
        first, new = ring.version(NAME), shop.turn()
        shop.told.set()
        await settle()
        assert ring.version(NAME) == new.version
        assert shop.watched == [first, new.version]
        newest = shop.turn()
        await time.advance(60)
        assert ring.version(NAME) == newest.version


async def test_a_store_that_tells_of_changes_without_end_is_read_no_more_often_than_the_floor() -> None:
    time, shop = Time(), Shop()

    async def always(since: object) -> None:
        """As a watch that is broken."""

    shop.changed = always  # type: ignore[method-assign]
    async with watching_ring(time, shop):
        await time.advance(20)
        assert shop.reads == 1 + 10


async def test_a_store_that_does_not_tell_of_changes_is_asked_and_that_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    time, shop = Time(), Shop()
    shop.watch_fails = DeniedError("no watching here", remedy="grant watch")
    async with watching_ring(time, shop) as ring:
        new = shop.turn()
        await time.advance(60)
        assert ring.version(NAME) == new.version
        await time.advance(600)
        assert shop.reads == 12
        assert len(shop.watched) == 12
        assert [each.getMessage() for each in caplog.records if "tell of changes" in each.getMessage()] == [
            f"{NAME}: its store does not tell of changes, so it is asked every 60 s: no watching here Remedy: grant watch"
        ]


async def test_that_a_store_does_not_tell_of_changes_again_or_for_another_reason_is_told_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    time, shop = Time(), Shop()
    reasons: list[Exception | None] = [DENIED, DENIED, RuntimeError("SECRET WORDS"), None, RuntimeError("SECRET WORDS")]

    async def changed(since: object) -> None:
        if reasons and (reason := reasons.pop(0)) is not None:
            raise reason
        await asyncio.Event().wait()

    shop.changed = changed  # type: ignore[method-assign]
    async with watching_ring(time, shop):
        await time.advance(600)
    told = [each.getMessage() for each in caplog.records if "tell of changes" in each.getMessage()]
    assert [each.rpartition("60 s: ")[2] for each in told] == [str(DENIED), "RuntimeError", "RuntimeError"]


async def test_who_may_not_read_does_not_listen_and_asks_no_more_often() -> None:
    time, shop = Time(), Shop()

    async def changed(since: object) -> None:
        """From some time on it is another value, which is not for us."""
        if shop.failure is None:
            await asyncio.Event().wait()

    shop.changed = changed  # type: ignore[method-assign]
    async with watching_ring(time, shop):
        shop.failure = DENIED
        await time.advance(600)
        assert shop.reads == 1 + 10


async def test_a_slow_store_holds_up_no_other() -> None:
    time, slow, quick = Time(), Shop(), Shop()
    async with ring_over(time, {"SLOW": slow, "QUICK": quick}) as ring:
        slow.gate.clear()
        new = quick.turn()
        slow.turn()
        await time.advance(60)
        assert ring.version("QUICK") == new.version
        assert ring.version("SLOW") != slow.held.version


# Asked for --------------------------------------------------------------------------------------------------------------


async def test_many_who_ask_at_once_share_one_read() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        await time.advance(10)
        shop.gate.clear()
        new = shop.turn()
        asking = [asyncio.create_task(ring.arefresh()) for _ in range(50)]
        await settle()
        shop.gate.set()
        assert await asyncio.gather(*asking) == [True] * 50
        assert shop.reads == 2
        assert ring.version(NAME) == new.version


@pytest.mark.parametrize("failure", [None, DOWN])
async def test_a_dead_key_is_no_storm(failure: KeyturnError | None) -> None:
    """A thousand calls that are refused ask a thousand times: the store is asked once for each floor that went by."""
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        await time.advance(10)
        shop.failure = failure
        for _ in range(1000):
            assert await ring.arefresh() is (failure is None)
            time.now += 0.01
        assert shop.reads == 1 + 5


async def test_whoever_gives_up_waiting_does_not_spoil_it_for_others() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        await time.advance(10)
        shop.gate.clear()
        impatient, patient = asyncio.create_task(ring.arefresh()), asyncio.create_task(ring.arefresh())
        await settle()
        impatient.cancel()
        await settle()
        shop.gate.set()
        assert await patient


async def test_a_roll_takes_the_expected_value_alone_and_does_not_trust_a_read_that_began_before() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        shop.gate.clear()
        await time.advance(60)  # a read of the old value is under way
        new = shop.turn()
        rolling = asyncio.create_task(ring.expect(NAME, new.version.fingerprint))
        await settle()
        shop.gate.set()
        await rolling
        assert ring.version(NAME) == new.version

        strange = asyncio.create_task(ring.expect(NAME, "0" * 16))
        await time.advance(10)
        with pytest.raises(ConflictError, match="not the one to roll onto"):
            await strange
        shop.failure = DOWN
        with pytest.raises(UnavailableError, match="the store is down"):
            await ring.expect(NAME, "0" * 16)
        assert ring.version(NAME) == new.version


# A store that fails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [DOWN, DeniedError("no"), NotFoundError("gone"), ValueError("boom"), TimeoutError()])
async def test_the_last_key_is_kept_whatever_the_store_says(failure: Exception) -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        known = ring.get(NAME)
        shop.failure = failure
        await time.advance(1800)
        assert ring.get(NAME) == known
        assert ring.age(NAME) == 1800
        assert ring.stats()["keys"][NAME]["failures"] > 0
        shop.failure = None
        new = shop.turn()
        await time.advance(66)
        assert ring.get(NAME) == new.material.reveal()
        assert ring.stats()["keys"][NAME]["last_error"] == ""


async def test_a_store_that_is_down_is_asked_again_soon_and_later_and_later() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}):
        shop.failure = DOWN
        await time.advance(400)
        assert time.pauses == [60, 2, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]  # the floor, and the interval


@pytest.mark.parametrize(
    ("failure", "pause"),
    [(DeniedError("no"), 60), (ThrottledError("slower", retry_after=45), 45)],
    ids=["denied", "throttled"],
)
async def test_a_store_that_refuses_is_not_pressed(failure: KeyturnError, pause: float) -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}):
        shop.failure = failure
        await time.advance(60)
        assert time.pauses == [60, pause]


async def test_a_denial_is_told_as_an_error_and_an_outage_as_a_warning_once_each(caplog: pytest.LogCaptureFixture) -> None:
    time, shop = Time(), Shop()
    with caplog.at_level(logging.INFO, "keyturn"):
        async with ring_over(time, {NAME: shop}):
            for failure in (DOWN, DeniedError("not for us"), None):
                shop.failure = failure
                await time.advance(300)
    told = [(record.levelname, record.message) for record in caplog.records]
    assert told == [
        ("WARNING", f"{NAME} cannot be read, its key is kept: the store is down"),
        ("ERROR", f"{NAME} cannot be read, its key is kept: not for us"),
        ("INFO", f"{NAME} is confirmed by its store again"),
    ]


async def test_a_stale_key_is_warned_of_once_a_period(caplog: pytest.LogCaptureFixture) -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}):
        shop.failure = DOWN
        await time.advance(599)
        assert "last confirmed" not in caplog.text
        await time.advance(1860)
    assert [record.message for record in caplog.records if "last confirmed" in record.message] == [
        f"{NAME} was last confirmed by its store {seconds} s ago: the store is down" for seconds in (604, 1204, 1804, 2404)
    ]


async def test_after_max_staleness_the_key_is_refused_until_the_store_confirms_it(caplog: pytest.LogCaptureFixture) -> None:
    time, shop = Time(), Shop()
    stale: list[str] = []
    told: list[object] = []
    async with ring_over(time, {NAME: shop}) as ring:
        ring.on_stale(stale.append)
        ring.on_change(lambda name, version: told.append(version))
        shop.failure = DOWN
        await time.advance(3600)
        assert ring.get(NAME)
        await time.advance(3)
        for read in (ring.get, ring.material, ring.held):
            with pytest.raises(StaleKeyError, match=rf"{NAME} was last confirmed by its store 3603 s ago.*Remedy"):
                read(NAME)
        assert ring.version(NAME) == shop.held.version
        assert stale == [NAME]
        assert "is given out no more" in caplog.text
        shop.failure = None
        await time.advance(60)
        assert ring.get(NAME) == shop.held.material.reveal()
        assert told == [shop.held.version]
        assert stale == [NAME]


async def test_without_a_limit_a_key_is_given_out_for_ever() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}, Freshness(max_staleness=None)) as ring:
        shop.failure = DOWN
        await time.advance(60)
        time.now += 1e9
        assert ring.get(NAME) == shop.held.material.reveal()


# The start --------------------------------------------------------------------------------------------------------------


async def test_the_start_waits_for_a_store_that_is_down_and_fails_with_its_error() -> None:
    time, shop = Time(), Shop()
    shop.failure = DOWN
    starting = asyncio.create_task(ring_over(time, {NAME: shop}).astart())
    await time.advance(10)
    assert not starting.done()
    await time.advance(10)
    with pytest.raises(UnavailableError, match="the store is down"):
        await starting


async def test_the_start_takes_a_store_that_comes_up() -> None:
    time, shop = Time(), Shop()
    shop.failure = DOWN
    ring = ring_over(time, {NAME: shop})
    starting = asyncio.create_task(ring.astart())
    await time.advance(10)
    shop.failure = None
    await time.advance(10)
    assert starting.done()
    assert ring.get(NAME) == shop.held.material.reveal()
    await ring.aclose()


@pytest.mark.parametrize("failure", [DeniedError("not for us"), NotFoundError("it is not there")])
async def test_the_start_fails_at_once_with_an_error_that_does_not_pass(failure: KeyturnError) -> None:
    time, good, bad = Time(), Shop(), Shop()
    bad.failure = failure
    ring = ring_over(time, {"GOOD": good, "BAD": bad})
    with pytest.raises(type(failure), match=str(failure)):
        await ring.astart()
    with pytest.raises(MisconfiguredError, match="the key ring is closed"):
        ring.get("GOOD")


async def test_a_reader_that_is_broken_is_told_by_its_kind_alone() -> None:
    time, shop = Time(), Shop()
    shop.failure = ValueError(f"invalid header {shop.held.material.reveal()}")
    with pytest.raises(MisconfiguredError, match="fails with ValueError") as caught:
        await ring_over(time, {NAME: shop}).astart()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert shop.held.material.reveal() not in str(caught.value)


async def test_a_ring_is_opened_once_and_gives_nothing_before_and_after() -> None:
    time, shop = Time(), Shop()
    ring = ring_over(time, {NAME: shop})
    with pytest.raises(MisconfiguredError, match="the key ring is new"):
        ring.get(NAME)
    assert not await ring.arefresh()
    async with ring:
        with pytest.raises(MisconfiguredError, match="started already"):
            ring.start()
    with pytest.raises(MisconfiguredError, match="the key ring is closed"):
        ring.get(NAME)
    assert not await ring.arefresh()
    await ring.aclose()


async def test_a_name_that_is_not_there_is_not_repeated_and_those_that_are_there_are_told() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop}) as ring:
        with pytest.raises(NotFoundError, match=f"use one of: {NAME}") as caught:
            ring.get(shop.held.material.reveal())
        assert shop.held.material.reveal() not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": timedelta(0)},
        {"floor": timedelta(minutes=2)},
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"patience": timedelta(0)},
        {"warn_after": timedelta(0)},
        {"max_staleness": timedelta(seconds=80)},
    ],
    ids=str,
)
def test_times_that_do_not_fit_are_refused(wrong: dict[str, timedelta]) -> None:
    with pytest.raises(MisconfiguredError, match="key ring: "):
        Freshness(**wrong)  # type: ignore[arg-type]


def test_the_page_tells_the_defaults() -> None:
    told = rows(section((ROOT / "docs" / "keyring.md").read_text(), "Fresh and stale"))
    assert {name: cells[1] for name, cells in told.items()} == {
        each.name: words(each.default) for each in dataclasses.fields(Freshness)
    }


def words(value: object) -> str:
    if not isinstance(value, timedelta):
        return str(value)
    unit, count = next(
        (unit, int(value / size))
        for unit, size in (("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)), ("second", timedelta(seconds=1)))
        if value >= size
    )
    return f"{count} {unit}{'s' * (count > 1)}"


# Nothing leaks ----------------------------------------------------------------------------------------------------------


async def test_a_ring_shows_names_versions_and_ages_and_is_neither_pickled_nor_copied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    time, shop = Time(), Shop()
    with caplog.at_level(logging.DEBUG):
        async with ring_over(time, {NAME: shop}) as ring:
            ring.on_change(_broken)
            text = shop.held.material.reveal()
            await time.advance(60)
            newer = shop.turn().material.reveal()
            await time.advance(65)
            told = f"{ring!r} {ring} {json.dumps(ring.stats())} {ring.prometheus()} {vars(ring)} {caplog.text}"
            assert f"{NAME} {shop.held.version.fingerprint} 5 s" in repr(ring)
            for fails in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="neither pickled nor copied"):
                    fails(ring)
    assert "a listener of the key ring failed (RuntimeError)" in caplog.text
    for key in (text, newer):
        for start in range(len(key) - 12):
            assert key[start : start + 12] not in told + caplog.text


def _broken(name: str, version: object) -> None:
    raise RuntimeError(f"{name} {version}")


async def test_a_listener_that_fails_stops_neither_the_next_one_nor_the_ring() -> None:
    time, shop, told = Time(), Shop(), []
    async with ring_over(time, {NAME: shop}) as ring:
        ring.on_change(_broken)
        ring.on_change(lambda name, version: told.append(version))
        for _ in range(2):
            new = shop.turn()
            await time.advance(60)
            assert ring.version(NAME) == new.version
        assert len(told) == 2


async def test_the_figures_are_told_as_prometheus_reads_them() -> None:
    time, shop = Time(), Shop()
    async with ring_over(time, {NAME: shop, 'odd"\\': Shop()}) as ring:
        shop.turn()
        await time.advance(60)
        shop.failure = DOWN
        await time.advance(61)
        page = ring.prometheus().splitlines()
        assert f'keyturn_keyring_age_seconds{{key="{NAME}"}} 61.0' in page
        assert f'keyturn_keyring_refreshes_total{{key="{NAME}"}} 2.0' in page
        assert f'keyturn_keyring_failures_total{{key="{NAME}"}} 1.0' in page
        assert f'keyturn_keyring_swaps_total{{key="{NAME}"}} 1.0' in page
        assert 'keyturn_keyring_stale{key="odd\\"\\\\"} 0.0' in page
        assert "keyturn_keyring_running 1" in page
        assert ring.stats()["keys"][NAME]["last_error"] == "UnavailableError"
