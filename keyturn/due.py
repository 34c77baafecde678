"""Since when a credential is due by itself: by its age, by a tick of its schedule that was missed, or after a failure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from keyturn.jitter import offset
from keyturn.journal import Journal
from keyturn.settings import CredentialSettings


def due_since(name: str, settings: CredentialSettings, journal: Journal, now: datetime, grace: timedelta) -> datetime | None:
    """None: it is not due. `grace`: so long the schedule's own run is given to answer a tick.

    A credential with a schedule that was never rotated waits for its first tick, whose run begins by itself. One that is
    rotated by age and never was is due at once: nobody knows how old its key is.
    """
    if journal.failures and journal.failed_at is not None:
        return journal.failed_at
    rotated = journal.promoted_at
    if settings.max_age is not None:
        since = now if rotated is None else _later(name, rotated + settings.max_age, settings)
        return since if since <= now else None
    if settings.schedule is None or rotated is None:
        return None
    for tick in CronSim(settings.schedule, (now - grace).astimezone(ZoneInfo(settings.timezone)), reverse=True):
        if tick <= rotated:
            return None
        if _later(name, tick, settings) <= now - grace:
            return tick
    return None


def _later(name: str, due: datetime, settings: CredentialSettings) -> datetime:
    return due + offset(name, due, settings.jitter)
