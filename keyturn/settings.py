"""What may stand in keyturn.yaml under `credentials` and `sweep`, and beside a provider's own settings: the settings, their
defaults, and what has to fit. What is under `deploy`: keyturn.deploy_settings."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cache
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from keyturn.cron import shortest_gap
from keyturn.durations import Duration, text
from keyturn.model import SecretRef
from keyturn.patience import Patience
from keyturn.waves import Size

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEAST_AGE = timedelta(minutes=10)  # a write is retried for minutes


class Section(BaseModel):
    """A part of keyturn.yaml: unknown names are errors, and no error shows an input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretAddress(Section):
    """Where a credential's value lives. `name` is AWS's word for `path`."""

    store: str
    path: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_./+=@:!-]+$")
    field: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$")

    @model_validator(mode="before")
    @classmethod
    def _name_is_path(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" in data and "path" not in data:
            return {("path" if key == "name" else key): value for key, value in data.items()}
        return data

    @property
    def ref(self) -> SecretRef:
        return SecretRef(self.store, self.path, self.field)


class CanarySettings(Section):
    """The real call. `model`: a model group, or a deployment's id. `deployment`: its id, where the group has several.

    Empty where keyturn itself is what is served: there is no LiteLLM to call. keyturn.config sees to it that there is.
    """

    proxy: str = ""
    model: str = ""
    deployment: str | None = None
    propagation: Duration | None = None  # overrides the provider's budget for a fresh key
    timeout: Duration = timedelta(seconds=30)


class ErrorLimit(Section):
    """How many of the users' requests members that were moved may fail while a wave bakes. `least`: with fewer requests
    nothing is said. `model`: as users name it; without it all count. `path`: with the slash that LiteLLM redirects to."""

    most: str = Field(pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?%$")
    least: int = Field(default=20, ge=1)
    model: str | None = None
    path: str = Field(default="/metrics/", pattern=r"^/[!-~]*$")

    @property
    def rate(self) -> float:
        return float(self.most.removesuffix("%")) / 100


class RollSettings(Section):
    """In which portions members are moved. `waves`: how many are moved when each is over, such as [1, 25%]; then the rest.

    `bake`: how long those that were moved are watched after each wave but the last: they are asked, and `errors` is looked
    at. `fleets`: one after the other, or all at once.
    """

    waves: tuple[Size, ...] = ()
    bake: Duration = timedelta(0)
    errors: ErrorLimit | None = None
    fleets: Literal["in_order", "side_by_side"] = "in_order"

    @model_validator(mode="after")
    def _are_of_use(self) -> RollSettings:
        if self.bake and not self.waves:
            raise ValueError("bake is the time after a wave: say which, such as waves: [1, 25%]")
        if self.errors and not self.bake:
            raise ValueError("errors are looked at while a wave bakes: say for how long, such as bake: 10m")
        return self


class ApprovalSettings(Section):
    """A person is asked before an old key is ended, which nothing undoes. None of it has a default.

    `when`: of which rotations. `timeout`: how long an answer is waited for, from when the key could be ended; in an incident
    from the call. `then`: what is done with the key where none came.
    """

    when: tuple[Literal["incident", "rotation"], ...] = Field(min_length=1)
    timeout: Duration
    then: Literal["revoke", "keep"]

    @field_validator("timeout")
    @classmethod
    def _is_bounded(cls, value: timedelta) -> timedelta:
        if not timedelta(minutes=1) <= value <= timedelta(days=30):
            raise ValueError("must be between 1m and 30d")
        return value

    @property
    def told(self) -> str:
        """In a sentence."""
        when = " and ".join(f"in {'an' if each == 'incident' else 'a'} {each}" for each in dict.fromkeys(self.when))
        silence = f"without an answer for {text(self.timeout)}: {self.then}"
        return f"a person is asked before an old key is revoked {when}; {silence}"


class CredentialSettings(Section):
    """One key that is rotated. `env`: a variable; for a key of several parts a variable for each, by the part's name."""

    provider: str
    secrets: tuple[SecretAddress, ...] = Field(min_length=1)
    canary: CanarySettings = CanarySettings()
    proxies: tuple[str, ...] = Field(min_length=1)
    env: str | dict[str, str] | None = None
    schedule: str | None = None
    timezone: str = "UTC"
    max_age: Duration | None = None
    jitter: Duration = timedelta(0)  # so much later than due at most: keyturn.jitter
    overlap: Duration = timedelta(hours=24)
    key_lifetime: Duration | None = None
    key_id: str | None = Field(default=None, min_length=1, max_length=128)  # at the provider, of the key made by hand
    on_incident: Literal["prove_first", "revoke_first"] = "prove_first"
    approval: ApprovalSettings | None = None
    roll: RollSettings = RollSettings()

    @field_validator("env", mode="before")
    @classmethod
    def _variables(cls, value: Any) -> Any:
        """Here, for a union of types would be told of in two sentences."""
        named = list(value.values()) if isinstance(value, dict) else [] if value is None else [value]
        if value == {} or not all(isinstance(each, str) and _VARIABLE.fullmatch(each) for each in named):
            raise ValueError("must be the name of a variable: letters, digits and _; or a mapping of parts of a key to such")
        return value

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            shortest_gap(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _times_fit(self) -> CredentialSettings:
        if self.schedule and self.max_age:
            raise ValueError("give schedule or max_age, not both: they are two ways to say when")
        interval = self.interval
        if interval is None:
            if self.jitter:
                raise ValueError("jitter is how much later than due: say when that is, by schedule or max_age")
            return self
        if self.overlap >= interval:
            raise ValueError(
                f"overlap ({text(self.overlap)}) must be shorter than the time between rotations ({text(interval)}): "
                "else the old key still lives when its successor is replaced"
            )
        if self.overlap + self.jitter >= interval:
            raise ValueError(
                f"jitter ({text(self.jitter)}) must leave room for the overlap ({text(self.overlap)}) between rotations "
                f"({text(interval)}): one that begins late may be followed by one that does not"
            )
        if self.approval and "rotation" in self.approval.when and self.overlap + self.approval.timeout >= interval:
            raise ValueError(
                f"approval.timeout ({text(self.approval.timeout)}) must end with the overlap ({text(self.overlap)}) before "
                f"the next rotation ({text(interval)}): while an old key waits for an answer, no other begins"
            )
        if self.key_lifetime is not None and self.key_lifetime < self.least_lifetime:
            raise ValueError(
                f"key_lifetime ({text(self.key_lifetime)}) must be at least twice the time between rotations plus the "
                f"overlap ({text(self.least_lifetime)}{', with jitter' if self.jitter else ''}): "
                "else one missed rotation lets the key expire in production"
            )
        return self

    @property
    def least_lifetime(self) -> timedelta:
        """Of a key, so that one missed rotation lets none end in production. Of a credential that is rotated by itself."""
        return 2 * (self.interval or timedelta(0)) + self.overlap + self.jitter

    @property
    def canary_proxy(self) -> str:
        """The fleet whose canary decides: where none is named, the one that serves the key."""
        return self.canary.proxy or self.proxies[0]

    @property
    def interval(self) -> timedelta | None:
        """The shortest time between two rotations; None where nothing is scheduled."""
        if self.max_age is not None:
            return self.max_age
        return None if self.schedule is None else shortest_gap(self.schedule)

    @property
    def fuse(self) -> timedelta | None:
        """How long a new key lives at most: `key_lifetime`, else three rotations (at least 30 days), else for ever.

        A key that is never due is given no fuse: nothing would replace it in time.
        """
        if self.key_lifetime is not None or self.interval is None:
            return self.key_lifetime
        return min(max(3 * self.interval + self.overlap + self.jitter, timedelta(days=30)), timedelta(days=365))


class ProviderLimits(Section):
    """What may stand beside the settings of a provider of any kind: how much at once. An incident does not wait for it.

    `max_concurrent`: so many rotations at a time, up to the promotion of the new key. `min_interval`: from the beginning of
    one, or of the end of an old key, to that of the next.
    """

    max_concurrent: int | None = Field(default=None, ge=1, le=1000)
    min_interval: Duration = timedelta(0)

    @field_validator("min_interval")
    @classmethod
    def _is_short(cls, value: timedelta) -> timedelta:
        if value > timedelta(hours=1):
            raise ValueError("must be 1h or less: a run waits for its turn")
        return value


class SweepSettings(Section):
    """How often everything is looked at, and what is done then.

    `at_once`: so many credentials of the same parts at a time. `stray_age`: a key that nothing claims is a stray after
    that, longer than any run takes from its create to its write. The rest: `Patience`.
    """

    every: Duration = timedelta(minutes=10)
    at_once: int = Field(default=8, ge=1, le=100)
    stray_age: Duration = timedelta(hours=1)
    backoff: Duration = timedelta(minutes=5)
    longest_backoff: Duration = timedelta(hours=6)
    park_after: int = Field(default=5, ge=1, le=100)

    @model_validator(mode="after")
    def _times_fit(self) -> SweepSettings:
        for name, least in (("every", timedelta(seconds=10)), ("backoff", timedelta(seconds=1)), ("stray_age", _LEAST_AGE)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {text(least)} or more")
        if self.longest_backoff < self.backoff:
            raise ValueError("longest_backoff must not be shorter than backoff")
        return self

    @property
    def patience(self) -> Patience:
        return Patience(self.backoff, self.longest_backoff, self.park_after)


class RotateManySettings(Section):
    """How many credentials one run of many has at work: `at_once` of the same parts."""

    at_once: int = Field(default=16, ge=1, le=100)


class InventorySettings(Section):
    """How often every key in service is listed and tried. `at_once`: so many credentials at a time."""

    every: Duration = timedelta(hours=1)
    at_once: int = Field(default=16, ge=1, le=100)

    @field_validator("every")
    @classmethod
    def _is_not_too_often(cls, value: timedelta) -> timedelta:
        if value < timedelta(minutes=1):
            raise ValueError("must be 1m or more: each probe is a call to the provider for every key")
        return value


@cache
def _zones() -> set[str]:
    return available_timezones()
