"""How old the credential is that keyturn logs in with: from a vendor's list, or what a user writes where it is not told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from keyturn.durations import Duration
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, LoginLife

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _must_be_a_day(value: Any) -> Any:
    if isinstance(value, date) or value is None:
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day, such as 2026-01-15")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a day that there is, such as 2026-01-15") from None


def life_among(login: KeyMaterial, keys: Sequence[KeyRef]) -> LoginLife | None:
    """Of the one of these keys that is logged in with; None where none fits its text, or more than one."""
    fitting = [key for key in keys if login.fits_hint(key.hint)]
    return LoginLife(fitting[0].created_at, fitting[0].expires_at) if len(fitting) == 1 else None


Day = Annotated[date, BeforeValidator(_must_be_a_day)]


class LoginSettings(BaseModel):
    """`login_issued`, `login_expires`: the days on which what keyturn logs in with was made, and ends. `login_max_age`: how
    old it may become. What the vendor tells of it counts more. See docs/own-credentials.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    login_issued: Day | None = None
    login_expires: Day | None = None
    login_max_age: Duration | None = None

    @field_validator("login_max_age")
    @classmethod
    def _a_day_at_least(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(days=1):
            raise ValueError("must be a day or more")
        return value
