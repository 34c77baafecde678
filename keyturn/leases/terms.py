"""What every lease's settings have, and when a token of it is to be replaced."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration, text
from keyturn.errors import UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import HeldToken, VersionRef

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class LeaseSettings(BaseModel):
    """`env`: the variable that LiteLLM reads. `refresh_before`: how long before its end a new token is fetched; without it
    after two thirds of its life, and never before half of it. `least_left`: a token that has less left is not given out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    env: Variable
    proxies: tuple[str, ...] = Field(min_length=1)
    refresh_before: Duration | None = None
    least_left: Duration = timedelta(seconds=30)

    @model_validator(mode="after")
    def _terms_fit(self) -> LeaseSettings:
        if self.refresh_before is not None and self.refresh_before <= self.least_left:
            raise ValueError(
                "refresh_before must be longer than least_left: else a token is withheld before a new one is there"
            )
        return self


def held(material: KeyMaterial, asked: datetime, ends: datetime, terms: LeaseSettings) -> HeldToken:
    """A token that was asked for then, and ends then. UnavailableError for one that has come to its end already.

    Half of what it has left is used at least: an endpoint that gives out the same token until shortly before its end is
    asked less and less early, and not again and again.
    """
    lives, last = ends - asked, ends - terms.least_left
    if last <= asked:
        raise UnavailableError(
            f"the token that was given has {text(max(lives, timedelta(0)))} left, and is given out with "
            f"{text(terms.least_left)} at least",
            remedy="see this machine's clock, and least_left",
        )
    before = lives / 3 if terms.refresh_before is None else terms.refresh_before
    due = max(ends - before, asked + (last - asked) / 2)
    fingerprint = material.fingerprint()
    return HeldToken(VersionRef(fingerprint, fingerprint), material, asked, min(due, last), last, ends)
