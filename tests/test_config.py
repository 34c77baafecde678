"""keyturn.yaml: every fault at once, with its path and line, and never a value."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

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


LEASED = GOOD.replace(
    "{kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc, service_account: svc_acct_abc}",
    "{kind: vault_dynamic, address: 'http://127.0.0.1:8200', auth: {method: token, token: env:T}, "
    "path: openai/creds/litellm, field: api_key, max_ttl: 15d}",
)


def test_a_key_that_ends_by_itself_is_replaced_before() -> None:
    """Nothing looks at a lease's end while it is served: so it has to fit the schedule."""
    parse(LEASED)
    text = faults(LEASED.replace("max_ttl: 15d", "max_ttl: 14d"))
    assert "credentials.openai-prod.provider (line 11): its keys end after 14d" in text
    assert "(15d)" in text
    assert "needs schedule or max_age" in faults(LEASED.replace('    schedule: "0 3 * * 1"\n', ""))
    parse(LEASED.replace('schedule: "0 3 * * 1"', "max_age: 7d"))
    assert "at least twice" in faults(LEASED.replace('schedule: "0 3 * * 1"', "max_age: 8d"))
    assert "must not be longer than max_ttl" in faults(LEASED + "    key_lifetime: 16d\n")
    parse(LEASED + "    key_lifetime: 15d\n")


def test_two_slots_are_for_one_credential() -> None:
    azure = {"kind": "azure_openai", "access_token": "env:T", "subscription": "s", "resource_group": "g", "account": "a"}
    data = yaml.safe_load(GOOD)
    (name,) = list(data["credentials"])[:1]
    (provider,) = list(data["providers"])[:1]
    data["providers"][provider] = azure
    parse(yaml.safe_dump(data))
    other = {**data["credentials"][name], "secrets": [{"store": next(iter(data["stores"])), "path": "another/one"}]}
    data["credentials"]["second"] = other
    with pytest.raises(ConfigError, match="two keys, for one credential"):
        parse(yaml.safe_dump(data))


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
        ("kind: openai,", "kind: opanai,", "use one of: anthropic, "),
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


# What YAML does and a configuration does not want


def test_a_name_that_stands_twice_is_a_fault_and_not_the_last_one_of_them() -> None:
    second = GOOD[GOOD.index("  openai-prod:") :].replace("litellm/providers", "other/providers")
    text = faults(GOOD + second)
    assert "credentials.openai-prod (line 19): stands here twice, first in line 10: keep one of them" in text
    text = faults(GOOD.replace("project: proj_abc", "project: proj_abc, project: proj_xyz"))
    assert "providers.openai-org.project (line 3): stands here twice, first in line 3" in text


def test_settings_may_be_shared_by_an_anchor_and_what_stands_beside_wins() -> None:
    shared = GOOD.replace("  vault: {kind", "  vault: &shared {kind") + "\n"
    shared = shared.replace("  aws: {", '  second: {<<: *shared, address: "http://127.0.0.2:8200"}\n  aws: {')
    stores = parse(shared).stores
    assert (stores["vault"].settings.address, stores["second"].settings.address) == (  # type: ignore[attr-defined]
        "http://127.0.0.1:8200",
        "http://127.0.0.2:8200",
    )
    assert "stores.second.address (line 6): must be an http" in faults(shared.replace("http://127.0.0.2:8200", "x"))


def test_a_name_is_its_text_whatever_yaml_would_make_of_it() -> None:
    for name in ("no", "1", "2025-01-01", "null"):
        assert list(parse(GOOD.replace("openai-prod:", f"{name}:")).credentials) == [name]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("proj_abc", "!!bool proj_abc", "project (line 3): is no number, true or false that can be read"),
        ("proj_abc", '!!int ""', "project (line 3): is no number"),
        ("proj_abc", "!!binary cHJvag==", "project (line 3): has a tag"),
        ("proj_abc", "!!python/object:os.system x", "project (line 3): has a tag"),
        ("proj_abc", "2025-01-01", "project"),
        ("proj_abc", '"\\UFFFFFFFF"', "the file (line 3): is not YAML from here on"),
        ("proj_abc", "*nowhere", "the file (line 3): has an alias without its anchor"),
        ("proj_abc", "[" * 99, "the file (line 3): is nested too deeply"),
        ("proj_abc", "\x07", "the file (line 3): has a character that YAML does not allow"),
        ("{kind: openai,", "&a {x: *a, kind: openai,", "openai-org.x (line 3): an alias stands inside its own anchor"),
        ("{kind: openai,", "{<<: 1, kind: openai,", "openai-org (line 3): << takes a mapping"),
        ("{kind: openai,", "{? [a] : b, kind: openai,", "openai-org (line 3): has something for a name that is not text"),
        ("provider: openai-org", "provider: [", "the file (line 13): is not YAML from here on"),
        ("proj_abc", '"\\ud800"', "project (line 3): has half a character in it"),
        ("proj_abc", "7", "project (line 3): must be text: put it into quotes"),
        ("proxies: [local]", "proxies: local", "proxies (line 16): must be a list"),
        ("auth: {method: token, token: env:VAULT_TOKEN}", "auth: x", "needs the method: token, approle, kub"),
        ("canary: {proxy: local, model: gpt-4o-mini}", "canary: x", "canary (line 15): must be a mapping of settings"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(was: str, now: str, says: str) -> None:
    if now == "2025-01-01":
        assert parse(GOOD.replace(was, now)), "a date is text"
        return
    assert says in faults(GOOD.replace(was, now))


def test_aliases_that_multiply_are_counted_as_what_they_stand_for() -> None:
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "aliases that multiply" in faults("a0: &a0 x\n" + laughs)


def test_an_error_does_not_carry_what_yaml_and_codecs_failed_on(tmp_path: Path) -> None:
    path = tmp_path / "keyturn.yaml"
    for content in (b"a: [", b"\xff\xfe", b"a: \x07"):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert refused.value.__context__ is None


# Keys at unlikely places


def test_a_key_that_could_be_a_name_is_not_taken_for_one_nor_listed() -> None:
    name = "sk-" + secrets.token_hex(16)
    for source in (
        GOOD.replace("openai-prod:", f"{name}:"),
        GOOD.replace("vault", name),
        GOOD.replace("  vault:", f"  {name}:"),  # what there is instead is listed
        GOOD + GOOD[GOOD.index("  openai-prod:") :].replace("openai-prod", name),  # two write one secret
    ):
        text = faults(source)
        assert "looks like a literal key" in text
        assert name not in text and name[5:20] not in text


def test_a_key_in_a_comment_is_a_fault_of_its_line() -> None:
    key = "hf_" + secrets.token_hex(20)
    assert "the file (line 19): looks like a literal key" in faults(GOOD + f"# was {key}\n")


def test_a_name_that_cannot_be_printed_is_not() -> None:
    for name in ('"\\ud800"', '"\\e[31m"', "a b", secrets.token_hex(16)):
        assert "credentials.openai-prod.*** (line 18): " in faults(
            GOOD.replace("    overlap:", f"    {name}: x\n    overlap:")
        )


def test_a_store_reference_leads_to_a_store_and_not_back_to_itself() -> None:
    admin = GOOD.replace("env:OPENAI_ADMIN_KEY", "store:aws/openai/admin")
    parse(admin)
    assert "admin_key (line 3): names nothing in stores (there: vault, aws)" in faults(
        admin.replace("store:aws", "store:awz")
    )
    itself = GOOD.replace("env:VAULT_TOKEN", "store:vault/token")
    assert "stores.vault (line 5): needs a secret that only it can read" in faults(itself)
    circle = GOOD.replace("env:VAULT_TOKEN", "store:aws/token").replace(
        "region: us-east-1", "region: us-east-1, access_key_id: env:A, secret_access_key: store:vault/key"
    )
    assert "stores.vault" in faults(circle) and "stores.aws" in faults(circle)
    parse(GOOD.replace("env:VAULT_TOKEN", "store:aws/token"))


def test_jitter_leaves_room_between_rotations() -> None:
    line = "    overlap: 24h\n"
    assert parse(GOOD.replace(line, line + "    jitter: 2h\n")).credential("openai-prod").jitter == timedelta(hours=2)
    assert "jitter (6d) must leave room for the overlap (1d)" in faults(GOOD.replace(line, line + "    jitter: 6d\n"))
    never = GOOD.replace('    schedule: "0 3 * * 1"\n', "    jitter: 2h\n")
    assert "jitter is how much later than due" in faults(never)


def test_a_provider_of_any_kind_may_have_limits() -> None:
    def limited(limits: str) -> str:
        return GOOD.replace("service_account: svc_acct_abc}", "service_account: svc_acct_abc, " + limits + "}")

    limits = parse(limited("max_concurrent: 3, min_interval: 10s")).providers["openai-org"].limits
    assert (limits.max_concurrent, limits.min_interval) == (3, timedelta(seconds=10))
    text = faults(limited("max_concurrent: 0, min_interval: 2h"))
    assert "providers.openai-org.max_concurrent" in text
    assert "providers.openai-org.min_interval" in text


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ("{image: keyturn}", "go with type: kubernetes"),
        ("{type: kubernetes}", "needs an image"),
        ("{root: here}", "must be an absolute path"),
        ("{env: {not-one: x}}", "must be variables"),
        ("{job_variables: {env: {A: b}}}", "have settings of their own here"),
        ("{pool: a/b}", "deploy.pool"),
    ],
)
def test_where_runs_are_made_is_checked(settings: str, fault: str) -> None:
    assert fault in faults(GOOD + f"deploy: {settings}\n")
