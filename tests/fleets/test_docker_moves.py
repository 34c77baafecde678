"""The next move of a container that is replaced, by what is seen: the cases that a history rarely comes to."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from keyturn.fleets.docker_moves import Move, Seen, next_move

OLD = Seen("old", "v1", up=True, ready=True, was_started=True)
NEW = Seen("new", "v2", replaces="old")
UP = replace(NEW, up=True, ready=True, was_started=True)
DOWN = replace(OLD, up=False, ready=False)


@pytest.mark.parametrize(
    ("old", "new", "move"),
    [
        (OLD, None, Move.CREATE),
        (OLD, NEW, Move.START_NEW),
        (OLD, replace(NEW, connected=False), Move.CONNECT),
        (OLD, replace(UP, ready=False), Move.WAIT_NEW),
        (OLD, UP, Move.STOP_OLD),
        (DOWN, UP, Move.REMOVE_OLD),
        (None, UP, Move.RENAME_NEW),
        (replace(OLD, value="v2"), None, Move.DONE),
        (DOWN, None, Move.STOPPED),
        (None, None, Move.GONE),
    ],
)
def test_the_way_of_a_roll(old: Seen | None, new: Seen | None, move: Move) -> None:
    assert next_move(old, new, "v2", beside=True, failed=False) is move


def test_what_was_made_for_another_key_is_not_started() -> None:
    assert next_move(OLD, replace(NEW, value="v0"), "v2", beside=True, failed=False) is Move.REMOVE_NEW


def test_what_was_made_for_another_credential_is_helped_to_its_end() -> None:
    """Its own worker is at it, and makes the same moves."""
    other = replace(UP, value="v1", of_another=True)
    for new, move in ((other, Move.STOP_OLD), (replace(other, ready=False), Move.WAIT_NEW)):
        assert next_move(OLD, new, "v2", beside=True, failed=False, settled=False) is move


def test_what_was_made_in_the_place_of_another_container_does_not_take_this_ones() -> None:
    """Compose has made the member anew meanwhile, perhaps with other settings."""
    for new in (NEW, UP):
        assert next_move(replace(OLD, id="other"), new, "v2", beside=True, failed=False) in (Move.REMOVE_NEW, Move.STOP_NEW)


def test_an_earlier_roll_that_has_taken_the_load_is_ended_first() -> None:
    assert next_move(DOWN, replace(UP, value="v0"), "v2", beside=True, failed=False) is Move.REMOVE_OLD


def seen(name: str) -> list[Seen]:
    found = []
    flags = list(itertools.product((True, False), repeat=4))
    for value, (up, ready, was, connected) in itertools.product(("v1", "v2", None), flags):
        if (ready and not up) or (up and not was):
            continue
        found.append(Seen(name, value, up, ready, was, "old" if name == "new" else "", connected))
    return found


@pytest.mark.parametrize("beside", [True, False])
def test_no_successor_is_taken_away_from_beside_one_that_may_be_about_to_end(beside: bool) -> None:
    """An earlier worker asked for its stop, and died; the engine is at it, and does not tell."""
    stale = replace(UP, value="v0")
    assert next_move(OLD, stale, "v2", beside=beside, failed=False, settled=False) is Move.SETTLE
    assert next_move(OLD, stale, "v2", beside=beside, failed=False, settled=True) is Move.STOP_NEW
    assert next_move(DOWN, stale, "v2", beside=beside, failed=False, settled=False) is Move.REMOVE_OLD


def test_one_that_was_never_started_is_taken_away_at_once_where_both_may_run() -> None:
    for beside, move in ((True, Move.REMOVE_NEW), (False, Move.SETTLE)):
        assert next_move(OLD, replace(NEW, value="v0"), "v2", beside=beside, failed=False, settled=False) is move


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("failed", [True, False])
def test_nothing_that_serves_is_taken_away_while_nothing_else_does(beside: bool, failed: bool) -> None:
    for old, new in itertools.product(seen("old"), seen("new")):
        move = next_move(old, new, "v2", beside=beside, failed=failed)
        if move in (Move.STOP_NEW, Move.REMOVE_NEW):
            assert old.up or (move is Move.STOP_NEW and not beside and not (new.ready and not failed)), (old, new)
        if move is Move.STOP_OLD:
            assert new.ready or not (beside or new.up), (old, new)
        if move is Move.REMOVE_OLD:
            assert new.ready and not old.up, (old, new)
        if move is Move.REMOVE_NEW:
            assert not new.up, (old, new)
        if move is Move.START_NEW:
            assert not new.was_started, "a program that has ended is not started a second time"
