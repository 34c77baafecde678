"""How old the key in service is, when the next one is due, and when it ends by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from keyturn.lifecycle import Observed
from keyturn.settings import CredentialSettings


@dataclass(frozen=True, slots=True)
class KeyAge:
    """`since`: when the provider made the key, or else when it was promoted; None: neither is known. `due_at`: when the next
    rotation begins by itself (it may be past); None: never. `expires_at`: by the provider's word."""

    at: datetime
    since: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def age(self) -> timedelta | None:
        return None if self.since is None else max(self.at - self.since, timedelta(0))

    @property
    def is_overdue(self) -> bool:
        return self.due_at is not None and self.due_at < self.at


def key_age(settings: CredentialSettings, seen: Observed) -> KeyAge:
    """Of what a look has found."""
    current, journal = seen.current, seen.journal
    if current is None:
        return KeyAge(seen.at)
    id = journal.keys.get(current.fingerprint, "")
    key = next((each for each in seen.keys or () if (id and each.id == id) or each.fingerprint == current.fingerprint), None)
    rotated = journal.promoted_at if journal.current_fingerprint == current.fingerprint else None
    made = key.created_at if key is not None else None
    return KeyAge(seen.at, made or rotated, _due(settings, rotated, seen.at), key.expires_at if key is not None else None)


def short(span: timedelta) -> str:
    """For a table: 3d 4h, 2h, 5m, in two parts at most."""
    minutes = int(span.total_seconds()) // 60
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (rest, "m")) if count]
    return " ".join(parts[:2]) or "0m"


def _due(settings: CredentialSettings, rotated: datetime | None, now: datetime) -> datetime | None:
    """One that is rotated by age and never was is due at once: nobody knows how old its key is."""
    if settings.max_age is not None:
        return now if rotated is None else rotated + settings.max_age
    if settings.schedule is None:
        return None
    tick: datetime = next(CronSim(settings.schedule, (rotated or now).astimezone(ZoneInfo(settings.timezone))))
    return tick
