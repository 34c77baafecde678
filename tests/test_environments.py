"""Several environments from one keyturn.yaml: what is joined, what is refused, and what Prefect keeps apart."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn import assembly, environments
from keyturn.assembly import Adapters
from keyturn.config import Config, ConfigError, load, parse
from keyturn.model import SecretRef
from tests.test_config import GOOD

TEXT = (
    GOOD
    + """
environments:
  staging:
    stores: {vault: {address: "http://127.0.0.2:8200"}}
    credentials: {openai-prod: {overlap: 1h, schedule: null, max_age: 7d}}
    deploy: {pool: staging}
  production:
    deploy: {pool: production}
"""
)


def read(environment: str, text: str = TEXT) -> Config:
    return parse(text, environment=environment)


def test_what_differs_is_said_and_the_rest_is_as_in_the_file() -> None:
    staging, production = read("staging"), read("production")
    changed, usual = (each.credential("openai-prod") for each in (staging, production))
    assert (changed.overlap, changed.schedule, changed.max_age) == (timedelta(hours=1), None, timedelta(days=7))
    assert (usual.overlap, usual.schedule) == (timedelta(days=1), "0 3 * * 1")
    assert changed.secrets == usual.secrets
    addresses = [each.stores["vault"].settings.model_dump()["address"] for each in (staging, production)]
    assert addresses == ["http://127.0.0.2:8200", "http://127.0.0.1:8200"]
    assert [each.deploy.pool for each in (staging, production)] == ["staging", "production"]


@pytest.mark.parametrize("environment", ["", "prod"])
def test_nobody_gets_one_that_was_not_named(environment: str) -> None:
    with pytest.raises(ConfigError, match=r"environments \(line \d+\): name the one that is meant"):
        read(environment)


def test_a_fault_is_told_with_the_line_it_stands_in() -> None:
    line = TEXT[: TEXT.index("overlap: 1h")].count("\n") + 1
    with pytest.raises(ConfigError, match=rf"credentials.openai-prod.overlap \(line {line}\)"):
        read("staging", TEXT.replace("overlap: 1h", "overlap: soon"))


def test_a_key_in_another_environment_is_found_too() -> None:
    key = "sk-" + secrets.token_hex(24)
    with pytest.raises(ConfigError) as failure:
        read("production", TEXT.replace("pool: staging", f"pool: {key}"))
    assert "literal key" in str(failure.value)
    assert key not in str(failure.value)


def test_a_file_each_needs_no_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keyturn.staging.yaml"
    path.write_text(GOOD)
    monkeypatch.setenv("KEYTURN_ENVIRONMENT", "staging")
    assert load(path).environment == "staging"


@pytest.mark.parametrize("name", ["Staging", "a.b", "-", "x" * 41])
def test_its_name_goes_into_names_of_prefect(name: str) -> None:
    with pytest.raises(ConfigError, match="KEYTURN_ENVIRONMENT must be"):
        parse(GOOD, environment=name)


def test_no_two_of_them_share_what_prefect_keeps() -> None:
    pairs = [("", "a"), ("", "b"), ("a", "b"), ("a", "b-c"), ("a-b", "c"), ("b", "a"), ("fleet", "a"), ("", "fleet.a")]
    assert len({environments.scoped(*pair) for pair in pairs}) == len(pairs)
    assert environments.scoped("", "openai-prod") == "keyturn-openai-prod"
    assert (environments.deployment(""), environments.deployment("staging")) == ("keyturn", "keyturn-staging")


# In order.

FOLLOWS = "    follows: {environment: staging, bake: 1d, at_most: 7d, then: wait}\n"


def test_an_environment_follows_another_one_of_the_file() -> None:
    follows = read("production", TEXT + FOLLOWS).follows
    assert follows is not None and (follows.environment, follows.bake) == ("staging", timedelta(days=1))
    assert read("staging", TEXT + FOLLOWS).follows is None


@pytest.mark.parametrize(
    ("text", "environment", "why"),
    [
        (TEXT + FOLLOWS.replace("staging", "stagging"), "production", "is no environment of this file"),
        (TEXT + FOLLOWS.replace("staging", "production"), "production", "comes after this one, too"),
        (
            TEXT.replace("    deploy: {pool: staging}\n", FOLLOWS.replace("staging", "production")) + FOLLOWS,
            "production",
            "comes after this one, too",
        ),
        (GOOD + FOLLOWS.strip() + "\n", "", "is no environment of this file"),
        (TEXT + FOLLOWS.replace("7d", "1d"), "production", "at_most must be longer than bake"),
        (TEXT + FOLLOWS.replace(", then: wait", ""), "production", "follows.then"),
    ],
)
def test_an_order_that_leads_nowhere_is_a_fault(text: str, environment: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(environment, text)


async def test_the_notes_of_the_environment_before_are_read_by_its_own_settings_and_a_login_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else of it: neither a value, nor any other part."""
    asked: list[tuple[str, str]] = []

    class Notes:
        def __init__(self, settings: Any, resolve: Any) -> None:
            self.settings = settings

        async def annotations(self, secret: SecretRef) -> dict[str, str]:
            asked.append((self.settings.address, self.settings.namespace))
            return {"promoted_at": "2026-03-02T03:00:00Z"}

        async def aclose(self) -> None:
            asked.append(("closed", ""))

    login = FOLLOWS.replace("bake", "stores: {vault: {namespace: for-looking}}, bake")
    path = tmp_path / "keyturn.yaml"
    path.write_text(TEXT + login)
    config = load(path, "production")
    adapters = Adapters(config)
    monkeypatch.setattr(assembly, "adapter_class", lambda section, kind: Notes)
    found = await adapters.earlier("openai-prod")
    assert found is not None and found.promoted_at is not None
    assert await adapters.earlier("only-here") is None
    await adapters.aclose()
    assert asked == [("http://127.0.0.2:8200", "for-looking"), ("closed", "")]
