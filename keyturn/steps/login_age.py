"""How old what keyturn logs in with is, and when it ends: by the vendor's word, else by what stands in keyturn.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from keyturn.config import Config
from keyturn.errors import KeyturnError
from keyturn.model import Finding, LoginLife
from keyturn.own_logins import references_in
from keyturn.parts import Part
from keyturn.ports import KeyProvider, TellsLogin

_SOON = timedelta(days=14)
_PART_OF_A_LIFE = 4  # what lives two weeks is not told of all its life


class Age(StrEnum):
    """In one word."""

    FINE = "fine"
    ENDING = "ends soon"
    OVER = "too old"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class LoginAge:
    """Of one provider's login. `sentence`: for people, with no key in it."""

    provider: str
    age: Age
    sentence: str
    life: LoginLife = field(default_factory=LoginLife)
    remedy: str = ""

    @property
    def finding(self) -> Finding:
        """For doctor."""
        ok = {Age.FINE: True, Age.OVER: False}.get(self.age)
        return Finding("the age of what keyturn logs in with", ok, self.sentence, self.remedy)


async def login_ages(
    config: Config, provider: Callable[[str], KeyProvider], now: datetime, names: Collection[str] | None = None
) -> list[LoginAge]:
    """Of every provider (or those of these names) that logs in with something; each is asked once. Raises nothing."""
    parts = [part for part in config.providers.values() if names is None or part.name in names]
    found = await asyncio.gather(*(_of(part, provider, now) for part in parts))
    return [each for each in found if each is not None]


async def _of(part: Part, provider: Callable[[str], KeyProvider], now: datetime) -> LoginAge | None:
    told, why = LoginLife(), "the vendor does not tell it"
    try:
        adapter = provider(part.name)
        if isinstance(adapter, TellsLogin):
            told = await adapter.login_life() or told
    except KeyturnError as error:
        why = f"the vendor could not be asked ({error.message})"
    settings: Any = part.settings
    if told == LoginLife() and not (hasattr(settings, "login_max_age") and _is_named(part)):
        return None
    return judged(part.name, told, settings, now, why)


def _is_named(part: Part) -> bool:
    """Whether keyturn.yaml says anything of a login: some kinds have none, or find it by themselves."""
    written = (getattr(part.settings, name) for name in ("login_issued", "login_expires", "login_max_age"))
    return bool(references_in(part.settings)) or any(each is not None for each in written)


def judged(
    provider: str, told: LoginLife, settings: Any, now: datetime, why: str = "the vendor does not tell it"
) -> LoginAge:
    """`told`: the vendor's word, which counts more than what `settings` have. `why` it has none."""
    issued = told.issued_at or _midnight(getattr(settings, "login_issued", None))
    expires = told.expires_at or _midnight(getattr(settings, "login_expires", None))
    most = getattr(settings, "login_max_age", None)
    life = LoginLife(issued, expires)
    limits = [each for each in (expires, issued + most if issued and most else None) if each is not None]
    if not limits and issued is None:
        remedy = "write login_issued with login_max_age, or login_expires, into this provider of keyturn.yaml"
        return LoginAge(provider, Age.UNKNOWN, f"{why}, and keyturn.yaml does not say it", life, remedy)
    words = [f"issued {_days(now - issued)} ago"] if issued else []
    if expires:
        words.append(f"ended {_days(now - expires)} ago" if expires <= now else f"ends in {_days(expires - now)}")
    if issued and most:
        words.append(f"may become {_days(most)} old")
    if not limits:
        return LoginAge(provider, Age.FINE, f"{', '.join(words)}; no limit is told or written", life)
    age = _age(issued, min(limits), now)
    remedy = "" if age is Age.FINE else "make another one at the vendor and put it where this one is, or have it rotated"
    return LoginAge(provider, age, ", ".join(words), life, remedy)


def _age(issued: datetime | None, limit: datetime, now: datetime) -> Age:
    if limit <= now:
        return Age.OVER
    soon = _SOON if issued is None else min(_SOON, (limit - issued) / _PART_OF_A_LIFE)
    return Age.ENDING if limit - now <= soon else Age.FINE


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _days(span: timedelta) -> str:
    if abs(span) < timedelta(days=2):
        hours = int(span.total_seconds() // 3600)
        return "an hour" if hours == 1 else f"{hours} hours"
    return f"{span.days} days"
