"""How old keyturn's logins are: what is told, what is written, and what is said of it when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.config import parse
from keyturn.errors import DeniedError
from keyturn.model import LoginLife
from keyturn.providers.vendor import VendorSettings
from keyturn.steps.login_age import Age, judged, login_ages

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YAML = """
providers:
  written: {kind: openrouter, management_key: env:A, login_issued: 2026-05-01, login_max_age: 90d}
  silent: {kind: openrouter, management_key: env:B}
  none: {kind: aws_access_key, region: us-east-1, user_name: rotator}
stores:
  aws: {kind: aws_secrets_manager, region: us-east-1}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], master_key: env:M}
credentials:
  one:
    {provider: silent, secrets: [{store: aws, name: a}], canary: {proxy: local, model: gpt}, proxies: [local]}
"""


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def settings(**written: str) -> VendorSettings:
    return VendorSettings.model_validate(written)


@pytest.mark.parametrize(
    ("life", "written", "age"),
    [
        (LoginLife(), {}, Age.UNKNOWN),
        (LoginLife(), {"login_max_age": "90d"}, Age.UNKNOWN),
        (LoginLife(ago(days=400)), {}, Age.FINE),
        (LoginLife(ago(days=10)), {"login_max_age": "90d"}, Age.FINE),
        (LoginLife(ago(days=77)), {"login_max_age": "90d"}, Age.ENDING),
        (LoginLife(ago(days=90)), {"login_max_age": "90d"}, Age.OVER),
        (LoginLife(None, ago(days=-30)), {}, Age.FINE),
        (LoginLife(None, ago(days=-13)), {}, Age.ENDING),
        (LoginLife(None, NOW), {}, Age.OVER),
        (LoginLife(ago(days=1), ago(days=-7)), {}, Age.FINE),  # it lives eight days in all
        (LoginLife(ago(days=7), ago(days=-1)), {}, Age.ENDING),
        (LoginLife(), {"login_issued": "2026-01-15", "login_max_age": "90d"}, Age.OVER),
        (LoginLife(), {"login_issued": "2026-05-30", "login_max_age": "90d"}, Age.FINE),
        (LoginLife(), {"login_expires": "2026-06-10"}, Age.ENDING),
        (LoginLife(), {"login_expires": "2026-05-31"}, Age.OVER),
        # The vendor's word counts more than what was once written.
        (LoginLife(ago(days=2)), {"login_issued": "2025-01-01", "login_max_age": "90d"}, Age.FINE),
        (LoginLife(None, ago(days=-200)), {"login_expires": "2026-05-31"}, Age.FINE),
        # Of two limits the nearer one counts.
        (LoginLife(ago(days=95), ago(days=-200)), {"login_max_age": "90d"}, Age.OVER),
    ],
)
def test_a_login_is_warned_of_before_its_limit_and_found_after_it(
    life: LoginLife, written: dict[str, str], age: Age
) -> None:
    found = judged("org", life, settings(**written), NOW)
    assert found.age is age, found.sentence
    assert found.finding.ok is {Age.FINE: True, Age.OVER: False}.get(age)
    assert bool(found.remedy) is (age is not Age.FINE)


def test_what_is_said_names_the_days() -> None:
    found = judged("org", LoginLife(ago(days=80), ago(days=-30)), settings(login_max_age="90d"), NOW)
    assert found.sentence == "issued 80 days ago, ends in 30 days, may become 90 days old"
    assert judged("org", LoginLife(None, ago(hours=1)), settings(), NOW).sentence == "ended an hour ago"
    unknown = judged("org", LoginLife(), settings(), NOW)
    assert f"{unknown.age}: {unknown.sentence}" == "not known: the vendor does not tell it, and keyturn.yaml does not say it"


class Told:
    """A provider that tells of its login, or fails to."""

    def __init__(self, life: LoginLife | Exception | None) -> None:
        self.life = life

    async def login_life(self) -> LoginLife | None:
        if isinstance(self.life, Exception):
            raise self.life
        return self.life


async def test_each_provider_is_asked_once_and_one_that_tells_nothing_is_not_known() -> None:
    adapters: dict[str, Any] = {"written": Told(None), "silent": Told(DeniedError("it may not")), "none": Told(None)}
    asked: list[str] = []

    def provider(name: str) -> Any:
        asked.append(name)
        return adapters[name]

    found = {each.provider: each for each in await login_ages(parse(YAML), provider, NOW)}
    assert asked == ["written", "silent", "none"]
    assert (found["written"].age, found["silent"].age) == (Age.FINE, Age.UNKNOWN)
    assert "it may not" in found["silent"].sentence and "login_issued" in found["silent"].remedy
    assert "none" not in found, "it names no login, and finds one by itself"


@pytest.mark.parametrize(
    "wrong",
    [
        {"login_issued": "2026-02-30"},
        {"login_issued": "15.1.2026"},
        {"login_issued": "1700000000"},
        {"login_expires": "2026-01-15T10:00:00"},
        {"login_max_age": "1h"},
    ],
)
def test_a_day_is_written_in_one_way(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
