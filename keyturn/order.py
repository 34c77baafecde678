"""Environments in order: what is due here by schedule waits until the environment before has rotated it, proved it, and so
it has stayed for a while.

The truth is in that environment's own notes, beside its secret: not in Prefect, whose runs may be of another server, and
end well or badly for reasons of their own. What a person asks for, what has leaked, and what stands half-way does not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from keyturn.assembly import Assembly
from keyturn.deploy_settings import FollowsSettings
from keyturn.durations import text
from keyturn.errors import KeyturnError
from keyturn.jitter import offset
from keyturn.journal import Journal
from keyturn.key_age import key_age
from keyturn.lifecycle import Observed
from keyturn.settings import CredentialSettings

_UNKNOWN_LIFE = timedelta(days=7)  # before its end, where it is not known how long a key lives


@dataclass(frozen=True, slots=True)
class HeldUp:
    """Why it waits, in words. `for_long`: longer than the settings allow. `goes_on`: and so it does not wait any more."""

    sentence: str
    for_long: bool = False
    goes_on: bool = False


async def held_up(c: Assembly, seen: Observed) -> HeldUp | None:
    """Whether a rotation that is due here by schedule waits for the environment before. None: it does not.

    A key that ends by itself is never waited for to its end, whatever the settings say: from two thirds of its life on the
    rotation goes on.

    Raises nothing: notes that cannot be read are a reason to wait, as bad ones are. Permission needed there: to read the
    notes of the first secret.
    """
    if c.follows is None or c.earlier is None:
        return None
    mine = seen.journal
    try:
        theirs = await c.earlier()
    except KeyturnError as error:
        why = f"its notes cannot be read: {error.message}"
    else:
        if theirs is None:
            return None
        why = not_ready(c.follows, mine, theirs, c.now())
    if not why:
        return None
    since = due_first(c.name, c.settings, mine)
    sentence = f"waits for {c.follows.environment}: {why}"
    ends = key_age(c.settings, seen).expires_at or _fuse_ends(c, mine)
    if ends is not None and c.now() >= (latest := _latest(c.settings, mine, ends)):
        told = f"{sentence}; but the key in service ends at {_clock(ends)}, and is replaced from {_clock(latest)} on"
        return HeldUp(told, for_long=True, goes_on=True)
    if since is None or c.now() < since + c.follows.at_most:
        return HeldUp(sentence)
    for_long = f"{sentence}; it has been due since {_clock(since)}, longer than {text(c.follows.at_most)}"
    return HeldUp(for_long, for_long=True, goes_on=c.follows.then == "rotate")


def not_ready(follows: FollowsSettings, mine: Journal, theirs: Journal, now: datetime) -> str:
    """What is missing there, in words; "" where nothing is. Pure."""
    if theirs.parked:
        return f"parked: {theirs.parked}"
    if theirs.failures:
        return f"failed there {theirs.failures} times ({theirs.failure})"
    if theirs.back_from not in ("", theirs.current_fingerprint):
        return "the new key was taken back there"
    promoted, proved = theirs.promoted_at, theirs.proved_at
    if promoted is None or (mine.promoted_at is not None and promoted <= mine.promoted_at):
        return "not rotated there since" + (
            f" {_clock(mine.promoted_at)}" if mine.promoted_at else " it is in keyturn's hands"
        )
    if proved is None:
        return f"rotated there at {_clock(promoted)}, and not proved yet"
    if now < proved + follows.bake:
        return f"proved there at {_clock(proved)}, and to stay so until {_clock(proved + follows.bake)}"
    return ""


def due_first(name: str, settings: CredentialSettings, mine: Journal) -> datetime | None:
    """Since when it is due here, by the first tick after the last rotation, or by its age. None: it is not known."""
    rotated = mine.promoted_at
    if rotated is None:
        return None
    if settings.max_age is not None:
        due = rotated + settings.max_age
    elif settings.schedule is not None:
        due = next(CronSim(settings.schedule, rotated.astimezone(ZoneInfo(settings.timezone))))
    else:
        return None
    return due + offset(name, due, settings.jitter)


def _fuse_ends(c: Assembly, mine: Journal) -> datetime | None:
    """Of a key that was made with a fuse, where the provider does not tell its end."""
    fuse = c.settings.fuse
    return mine.promoted_at + fuse if mine.promoted_at and fuse and c.provider.capabilities.supports_expiry else None


def _latest(settings: CredentialSettings, mine: Journal, ends: datetime) -> datetime:
    life = ends - mine.promoted_at if mine.promoted_at is not None else None
    return ends - (life / 3 if life is not None else settings.interval or _UNKNOWN_LIFE)


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
