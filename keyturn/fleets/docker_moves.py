"""What a container that is replaced needs next, from what is seen alone. Pure.

A member is the container that bears its name, and where one is in the making its successor, `NAME-keyturn`, whose labels
say in whose place and with which value it was made. There is one of that name at most, whoever makes it, and it takes the
name over at the very end. So whoever comes next, after a death at any point, sees how far it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Move(Enum):
    """One call to the engine, or none."""

    CREATE = "create"
    CONNECT = "connect"  # the successor to the networks that it is not in
    START_NEW = "start the successor"
    STOP_OLD = "stop the old one"
    REMOVE_OLD = "remove the old one"
    RENAME_NEW = "give the successor its name"
    WAIT_OLD = "wait for the member"
    WAIT_NEW = "wait for the successor"
    STOP_NEW = "stop the successor"
    START_OLD = "start the old one again"
    SETTLE = "wait whether the old one is about to end"
    REMOVE_NEW = "remove the successor"
    DONE = "done"
    STOPPED = "stopped"  # and not by us
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Seen:
    """One of the two. `value`: the fingerprint of its key. `up`: it runs, or is about to by itself. `ready`: it runs, says
    so, and its health check does not say otherwise. `was_started`: ever. `of_another`: made for another credential."""

    id: str
    value: str | None
    up: bool = False
    ready: bool = False
    was_started: bool = False
    replaces: str = ""
    of_another: bool = False
    connected: bool = True


def next_move(old: Seen | None, new: Seen | None, wanted: str, *, beside: bool, failed: bool, settled: bool = True) -> Move:
    """`beside`: both may run at the same time. `failed`: the successor is given up: it was refused, or had its time.
    `settled`: no stop is under way that an earlier worker asked for.

    Capacity first: the old one is stopped for a successor that is ready, or cannot run beside it; and it runs again before
    a successor that failed is removed. An engine does not tell that a container is being stopped, so a successor is not
    taken away from beside an old one that may be.
    """
    if old is None:
        return Move.GONE if new is None else Move.RENAME_NEW
    if new is None:
        return _alone(old, wanted)
    ended = new.was_started and not new.up
    # Another credential's is helped to its end: both workers make the same moves then, and none undoes the other's.
    stale = new.value != wanted and not new.of_another
    if stale or new.replaces != old.id or failed or ended:
        return _take_back(old, new, beside=beside, failed=failed or ended, settled=settled)
    if not new.connected:
        return Move.CONNECT
    if not new.up:
        return Move.STOP_OLD if old.up and not beside else Move.START_NEW
    if not new.ready:
        return Move.WAIT_NEW
    return Move.STOP_OLD if old.up else Move.REMOVE_OLD


def _alone(old: Seen, wanted: str) -> Move:
    if not old.up:
        return Move.STOPPED
    if old.value != wanted:
        return Move.CREATE
    return Move.DONE if old.ready else Move.WAIT_OLD


def _take_back(old: Seen, new: Seen, *, beside: bool, failed: bool, settled: bool) -> Move:
    if old.up and not settled and (new.was_started or not beside):
        return Move.SETTLE
    if old.up:
        return Move.STOP_NEW if new.up else Move.REMOVE_NEW
    if new.ready and not failed and new.replaces == old.id:
        return Move.REMOVE_OLD  # an earlier roll was about to end: it is the one that serves
    return Move.STOP_NEW if new.up and not beside else Move.START_OLD
