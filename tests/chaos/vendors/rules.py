"""What is demanded of a vendor's keys in the end, by what its API can do. An orphan is a live key that nothing holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.left import Left
from tests.chaos.vendors.account import Known


@dataclass(frozen=True, slots=True)
class Seen:
    """What the driver knows, as fingerprints.

    `current`: of the keys in service. `by_hand`: those that a person put there. `bystanders`: of others. `served`: what the
    deciding secrets told, one after the other. `held`: what any stage of a secret was seen to hold, where that is watched.
    """

    current: Collection[str]
    by_hand: Collection[str]
    bystanders: Collection[str]
    served: Collection[str]
    held: Collection[str]


def made_and_deleted(keys: Sequence[Known], seen: Seen, left: Left) -> None:
    """One that is listed can be found again by its name: whatever lives beside CURRENT is an orphan. One that is disabled
    and not deleted lives."""
    for key in _others(keys, seen, left):
        if key.deleted:
            _deleted_once(key, left)
        elif key.fingerprint in seen.by_hand:
            left.unfinished.append(f"{key}, which was replaced, still lives")
        else:
            left.orphans.append(f"{key} lives{'' if key.accepted else ' (it is disabled)'}, and nothing holds it")


def turned_in_place(keys: Sequence[Known], turned_from: Sequence[str], seen: Seen, left: Left) -> None:
    """One id is several texts. The key in service stays, and its other texts have ended by themselves; each was in service
    once, and was turned away from once. What is no text of that key went wrong, or was replaced for it: it is deleted.

    A text that nobody serves is never turned away from: its key was turned before, and may end what is in service."""
    in_service = {key.id for key in keys if key.fingerprint in seen.current}
    for key in keys:
        times = turned_from.count(key.fingerprint)
        if times and key.fingerprint not in (*seen.served, *seen.by_hand):
            left.lost.append(f"{key} was turned away from a text that was never in service")
        if times > 1:
            left.lost.append(f"{key} was turned {times} times away from one text")
    for key in _others(keys, seen, left):
        if key.id in in_service:
            if not key.deleted:
                left.unfinished.append(f"{key}, which is current, was given another text, and nothing holds that")
            elif key.accepted:
                left.unfinished.append(f"the old text of {key}, which is current, still lives")
        elif key.deleted:
            _deleted_once(key, left)
        elif key.fingerprint in seen.by_hand:
            left.unfinished.append(f"{key}, which was replaced, still lives")
        else:
            left.orphans.append(f"{key} lives, and nothing holds it")


_SHOWN = "it was made, and never written: only its console shows it"


def without_a_list(keys: Sequence[Known], seen: Seen, left: Left, never_written: str = _SHOWN) -> None:
    """No list, or one without names: a key whose create lost its answer, or whose run died before it was written, is seen
    by nobody but people. That one alone is left to them. What a secret has held once keyturn knows, and has to delete."""
    for key in _others(keys, seen, left):
        if key.deleted:
            _deleted_once(key, left)
        elif key.fingerprint in seen.by_hand:
            left.unfinished.append(f"{key}, which was replaced, still lives")
        elif key.fingerprint in seen.held or key.fingerprint in seen.served:
            left.orphans.append(f"{key} was written to a secret, lives, and nothing holds it")
        else:
            left.for_a_person.append(f"{key}: {never_written}")


def two_slots(keys: Sequence[Known], seen: Seen, left: Left) -> None:
    """Two keys always live. Beside CURRENT that is a text that was never in service: whoever had the old one has nothing."""
    live = [key for key in keys if not key.deleted]
    if len(live) != 2:
        raise RuntimeError(f"an account has {len(live)} keys")
    for key in _others(keys, seen, left):
        if key.deleted:
            _deleted_once(key, left)
        elif key.fingerprint in seen.by_hand:
            left.unfinished.append(f"{key}, which was replaced, was not made anew")
        elif key.fingerprint in seen.served:
            left.orphans.append(f"{key} was in service, lives, and nothing holds it")


@dataclass(frozen=True, slots=True)
class Pool:
    """What the places hold, as fingerprints: who may be given it, and who has it (by the label of the rotation)."""

    free: Collection[str]
    taken: Mapping[str, str]
    others: Mapping[str, str]  # what others had taken, and under which label, before


def pooled(keys: Sequence[Known], seen: Seen, pool: Pool, left: Left) -> None:
    """A key that nobody has taken is no orphan: it waits for a rotation. One that was taken and that nothing serves is: it
    belongs back into the pool. Nor may a key get lost that lives, and is in no place and in no secret."""
    for fingerprint, label in pool.others.items():
        if pool.taken.get(fingerprint) != label:
            left.lost.append("a key that another installation took was taken from it")
    for key in _others(keys, seen, left):
        in_service = key.fingerprint in seen.served
        if not key.accepted:
            if key.fingerprint in pool.free or key.fingerprint in pool.taken:
                left.unfinished.append(f"{key} is refused, and the pool has it still")
        elif key.fingerprint in seen.by_hand or (in_service and key.fingerprint in pool.taken):
            left.unfinished.append(f"{key}, which was replaced, still lives")
        elif key.fingerprint in pool.free:
            if in_service:
                left.lost.append(f"{key} was in service, and is free in the pool again")
        elif key.fingerprint in pool.taken:
            if key.fingerprint not in pool.others:
                left.orphans.append(f"{key} is taken by {pool.taken[key.fingerprint]}, and nothing serves it")
        else:
            left.lost.append(f"{key} lives, and is in no secret and in no place of the pool")


def _others(keys: Sequence[Known], seen: Seen, left: Left) -> Sequence[Known]:
    """All but those in service and those of others, of which it is said here what is wrong."""
    found = []
    for key in keys:
        if key.fingerprint in seen.bystanders:
            if key.deleted or not key.accepted:
                left.unfinished.append(f"{key}, which is another's, was deleted")
        elif key.fingerprint in seen.current:
            if not key.accepted:
                left.unfinished.append(f"{key}, which is current, is refused")
        else:
            found.append(key)
    return found


def _deleted_once(key: Known, left: Left) -> None:
    if key.deletions != 1:
        left.unfinished.append(f"{key} was deleted {key.deletions} times")
