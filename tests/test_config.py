"""keyturn.yaml: every fault at once, with its path and line, and never a value."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.config import Config, ConfigError, load, parse
from keyturn.errors import MisconfiguredError
from keyturn.model import SecretRef

GOOD = """
providers:
  openai-org: {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc, service_account: svc_acct_abc}
stores:
  vault: {kind: vault_kv2, address: "http://127.0.0.1:8200", auth: {method: token, token: env:VAULT_TOKEN}}
  aws: {kind: aws_secrets_manager, region: us-east-1}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], control_token: env:T, master_key: env:M}
credentials:
  openai-prod:
    provider: openai-org
    secrets:
      - {store: vault, path: litellm/providers, field: OPENAI_API_KEY}
      - {store: aws, name: prod/openai/api_key}
    canary: {proxy: local, model: gpt-4o-mini}
    proxies: [local]
    schedule: "0 3 * * 1"
    overlap: 24h
"""


def faults(source: str) -> str:
    with pytest.raises(ConfigError) as failure:
        parse(source)
    return str(failure.value)


def test_a_good_file_gives_typed_settings() -> None:
    config: Config = parse(GOOD)
    credential = config.credential("openai-prod")
    assert credential.overlap == timedelta(hours=24)
    assert credential.interval == timedelta(days=7)
    assert [secret.ref for secret in credential.secrets] == [
        SecretRef("vault", "litellm/providers", "OPENAI_API_KEY"),
        SecretRef("aws", "prod/openai/api_key"),
    ]
    assert config.providers["openai-org"].kind == "openai"


def test_every_fault_is_reported_at_once_with_path_and_line() -> None:
    text = faults(
        GOOD.replace("project: proj_abc", "projekt: proj_abc")
        .replace("store: aws, name", "store: awz, name")
        .replace("overlap: 24h", "overlap: 8d")
        .replace("canary: {proxy: local", "canary: {proxy: locl")
    )
    assert "4 faults" not in text
    for path in ("providers.openai-org.projekt", "providers.openai-org.project", "credentials.openai-prod"):
        assert path in text
    assert "(line 3)" in text and "unknown setting" in text
    assert "must be shorter than the time between rotations (7d)" in text


def test_unknown_links_name_what_is_there() -> None:
    text = faults(GOOD.replace("store: aws, name", "store: awz, name").replace("proxies: [local]", "proxies: [locl]"))
    assert "credentials.openai-prod.secrets.1.store (line 14): names nothing in stores (there: vault, aws)" in text
    assert "credentials.openai-prod.proxies.0" in text


def test_two_credentials_may_not_write_one_field() -> None:
    second = GOOD[GOOD.index("  openai-prod:") :].replace("openai-prod", "openai-two").replace("prod/openai", "two/openai")
    text = faults(GOOD + second)
    assert "two credentials write vault:litellm/providers#OPENAI_API_KEY: openai-prod does too" in text


def test_a_field_and_the_whole_of_one_secret_are_one_too_many() -> None:
    second = GOOD[GOOD.index("  openai-prod:") :].replace("openai-prod", "openai-two")
    second = second.replace(", field: OPENAI_API_KEY", "").replace("prod/openai", "two/openai")
    assert "two credentials write vault:litellm/providers" in faults(GOOD + second)


def test_a_literal_secret_is_refused_and_not_printed() -> None:
    literal = "sk-admin-" + secrets.token_hex(16)
    text = faults(GOOD.replace("env:OPENAI_ADMIN_KEY", literal))
    assert "providers.openai-org.admin_key (line 3)" in text
    assert literal not in text and literal[10:22] not in text


def test_a_key_pasted_anywhere_is_refused_and_not_printed() -> None:
    literal = "sk-" + secrets.token_hex(24)
    for source in (
        GOOD.replace("litellm/providers", literal),
        GOOD.replace("proj_abc", literal),
        GOOD.replace("    overlap: 24h", f"    {literal}: 24h"),
        GOOD.replace("openai-prod:", f"{literal}:"),
        f"{literal}: x\n" + GOOD,
    ):
        text = faults(source)
        assert literal not in text and literal[4:16] not in text


def test_a_cron_line_and_a_maximum_age_exclude_each_other() -> None:
    assert "give schedule or max_age, not both" in faults(GOOD + "    max_age: 30d\n")


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ('"0 3 * * 1"', '"every monday"', "cron line"),
        ("overlap: 24h", "overlap: 24", "duration"),
        ("overlap: 24h", "overlap: 1d\n    timezone: Mars/Olympus", "time zone"),
        ("overlap: 24h", "overlap: 1d\n    key_lifetime: 8d", "at least twice"),
        ("kind: openai,", "kind: opanai,", "use one of: openai"),
        ("kind: openai, ", "", "has no kind"),
        ('"http://127.0.0.1:8200"', '"127.0.0.1:8200"', "http"),
        ("openai-prod:", "OpenAI_Prod:", "names are 1 to 40"),
        ("secrets:", "secrets: []\n    other:", "unknown setting"),
    ],
)
def test_a_bad_setting_says_what_to_write(was: str, now: str, says: str) -> None:
    assert was in GOOD
    assert says in faults(GOOD.replace(was, now))


@pytest.mark.parametrize("source", ["", "- a", "a: [", "providers: {}\n", "{}", "\x00", "providers: 1", "a: &a [*a]"])
def test_a_file_that_is_no_configuration_is_refused_in_words(source: str) -> None:
    assert "fault" in faults(source)


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "keyturn.yaml")


def test_an_unknown_credential_names_those_there_are() -> None:
    with pytest.raises(MisconfiguredError, match="openai-prod"):
        parse(GOOD).credential("openai-staging")


def test_a_key_gets_a_fuse_only_where_something_replaces_it_in_time() -> None:
    scheduled = parse(GOOD).credential("openai-prod")
    assert scheduled.fuse == timedelta(days=30)
    assert parse(GOOD.replace('    schedule: "0 3 * * 1"\n', "")).credential("openai-prod").fuse is None
