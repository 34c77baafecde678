"""The rules of the chaos judge about a vendor's keys: each of its sentences, and what it says nothing of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.left import Left
from tests.chaos.vendors.account import Known
from tests.chaos.vendors.rules import Pool, Seen, made_and_deleted, pooled, turned_in_place, two_slots, without_a_list

Rule = Callable[[list[Known], Seen, Left], None]

SEEN = Seen(
    current={"current"}, by_hand={"by hand"}, bystanders={"another's"}, served={"by hand", "old", "current"}, held={"staged"}
)
CURRENT, ANOTHERS = Known("k1", "", "current", True, 0), Known("k2", "", "another's", True, 0)
NOTHING = Pool(free=(), taken={}, others={})


def key(fingerprint: str, *, accepted: bool = True, deletions: int = 0) -> Known:
    return Known("k9", "a name", fingerprint, accepted and not deletions, deletions)


def of_a_pool(pool: Pool) -> Rule:
    return lambda keys, seen, left: pooled(keys, seen, pool, left)


def turned(*turned_from: str) -> Rule:
    return lambda keys, seen, left: turned_in_place(keys, turned_from, seen, left)


def left_by(rule: Rule, *keys: Known) -> Left:
    left = Left()
    rule(list(keys), SEEN, left)
    return left


EVERY = pytest.mark.parametrize("rule", [made_and_deleted, without_a_list, of_a_pool(NOTHING), turned()])


@EVERY
def test_one_key_in_service_beside_those_of_others_is_well(rule: Rule) -> None:
    assert left_by(rule, CURRENT, ANOTHERS) == Left()


@EVERY
def test_the_key_in_service_is_accepted_and_those_of_others_are_spared(rule: Rule) -> None:
    left = left_by(rule, replace(CURRENT, accepted=False), replace(ANOTHERS, accepted=False, deletions=1))
    assert len(left.unfinished) == 2


@pytest.mark.parametrize("rule", [made_and_deleted, without_a_list, turned("by hand")])
def test_what_was_replaced_is_deleted_once(rule: Rule) -> None:
    assert left_by(rule, CURRENT, key("by hand", deletions=1)) == Left()
    assert left_by(rule, CURRENT, key("by hand", deletions=2)).unfinished
    assert left_by(rule, CURRENT, key("by hand")).unfinished


@pytest.mark.parametrize("rule", [made_and_deleted, turned("old")])
def test_whatever_is_listed_and_lives_is_an_orphan_disabled_or_not(rule: Rule) -> None:
    assert left_by(rule, CURRENT, key("lost")).orphans
    assert left_by(rule, CURRENT, key("lost", accepted=False)).orphans


def test_without_a_list_only_what_was_never_written_is_left_to_people() -> None:
    left = left_by(without_a_list, CURRENT, key("lost"))
    assert (left.facts, len(left.for_a_person)) == ([], 1)
    for fingerprint in ("staged", "old"):
        assert left_by(without_a_list, CURRENT, key(fingerprint)).orphans


def test_of_two_slots_the_idle_one_holds_what_was_never_in_service() -> None:
    assert left_by(two_slots, CURRENT, key("fresh"), key("old", deletions=1)) == Left()
    assert left_by(two_slots, CURRENT, key("old")).orphans
    assert left_by(two_slots, CURRENT, key("by hand")).unfinished
    assert left_by(two_slots, CURRENT, key("fresh"), key("old", deletions=2)).unfinished


def a_text(fingerprint: str, *, accepted: bool = False, turned_away: bool = True) -> Known:
    """Of the key in service."""
    return replace(CURRENT, fingerprint=fingerprint, accepted=accepted, deletions=int(turned_away))


def test_of_a_key_in_place_the_old_text_ends_and_its_key_stays() -> None:
    assert left_by(turned("old"), a_text("old"), CURRENT) == Left()
    assert left_by(turned("old"), a_text("old", accepted=True), CURRENT).unfinished


def test_of_a_key_in_place_the_text_in_service_is_the_newest() -> None:
    current = replace(CURRENT, deletions=1)
    assert left_by(turned("current"), current, a_text("lost", accepted=True, turned_away=False)).unfinished


def test_of_a_key_in_place_a_text_is_turned_away_from_once_and_only_one_that_was_in_service() -> None:
    assert left_by(turned("old", "old"), a_text("old"), CURRENT).lost
    assert left_by(turned("old", "lost"), a_text("old"), a_text("lost"), CURRENT).lost
    assert left_by(turned("lost"), CURRENT, key("lost", deletions=2)).lost


def test_of_a_pool_what_is_free_waits_and_what_nobody_serves_goes_back() -> None:
    free, taken = Pool({"spare"}, {}, {}), Pool((), {"spare": "keyturn-a"}, {})
    assert left_by(of_a_pool(free), CURRENT, key("spare")) == Left()
    assert left_by(of_a_pool(taken), CURRENT, key("spare")).orphans


def test_of_a_pool_no_living_key_is_lost_and_none_that_was_in_service_is_given_out_again() -> None:
    assert left_by(of_a_pool(NOTHING), CURRENT, key("spare")).lost
    assert left_by(of_a_pool(Pool({"old"}, {}, {})), CURRENT, key("old")).lost


@pytest.mark.parametrize("pool", [Pool({"dead"}, {}, {}), Pool((), {"dead": "keyturn-a"}, {})])
def test_of_a_pool_a_dead_key_has_no_place(pool: Pool) -> None:
    assert left_by(of_a_pool(NOTHING), CURRENT, key("dead", accepted=False)) == Left()
    assert left_by(of_a_pool(pool), CURRENT, key("dead", accepted=False)).unfinished


@pytest.mark.parametrize("fingerprint", ["by hand", "old"])
def test_of_a_pool_the_replaced_key_is_ended(fingerprint: str) -> None:
    pool = Pool((), {fingerprint: "keyturn-a"}, {})
    assert left_by(of_a_pool(pool), CURRENT, key(fingerprint)).unfinished
    assert left_by(of_a_pool(NOTHING), CURRENT, key(fingerprint, deletions=1)) == Left()


def test_of_a_pool_what_another_took_stays_taken() -> None:
    for taken in ({}, {"another's": "keyturn-ours"}):
        assert left_by(of_a_pool(Pool((), taken, {"another's": "keyturn-theirs"})), CURRENT, ANOTHERS).lost
