"""What the lean reader takes out of a keyturn.yaml is what the full path takes out of it; else it declines."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyturn import durations
from keyturn.config import Config, ConfigError, parse
from keyturn.delivery.environment import inherited
from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.document import plain_document
from keyturn.delivery.lean.kinds import KINDS
from keyturn.delivery.lean.plain import seconds, split_address
from keyturn.delivery.lean.plan import Plan, plan_of
from keyturn.delivery.variables import own_secrets, variables
from keyturn.errors import MisconfiguredError
from keyturn.registry import kinds
from tests.hostile import PLANTED, Changed, changed, fuzz
from tests.test_config import GOOD
from tests.test_config_fuzz import SNIPPETS, written

ROOT = Path(__file__).parents[3]

FULL = """
providers:
  openai-org:
    {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc, base_url: "https://api.example.com:8443/v1/",
     usage_lag: 5m, propagation: 1m, timeout: 20s}
  bedrock: {kind: aws_access_key, region: us-east-1, user_name: litellm@prod, access_key_id: env:I, secret_access_key: env:S,
            session_token: env:T, endpoint_url: "http://127.0.0.1:5001", sts_endpoint_url: "http://127.0.0.1:5002",
            usage_lag: 4h, propagation: 1m, timeout: 20s}
stores:
  vault:
    kind: vault_kv2
    address: https://vault.example.com:8200
    namespace: team/a
    ca_file: /etc/ssl/vault.pem
    verify: true
    timeout: 5s
    mount: kv/team
    staging_prefix: keyturn
    auth: {method: approle, role_id: env:VAULT_ROLE_ID, secret_id: file:/run/secrets/vault, mount: roles}
  aws: {kind: aws_secrets_manager, region: eu-central-1, access_key_id: env:A, secret_access_key: env:B,
        session_token: env:C, endpoint_url: "http://127.0.0.1:5000", replicas: [eu-west-1], replica_timeout: 30s}
proxies:
  local:
    kind: process
    members: [{url: "http://127.0.0.1:4001", control: "unix:/run/a.sock"}, "http://127.0.0.1:4002"]
    control_token: env:TOKEN
    master_key: env:LITELLM_MASTER_KEY
    control_port_offset: 200
  other: {kind: process, members: ["http://127.0.0.1:4003"], master_key: env:OTHER_MASTER_KEY}
credentials:
  openai-prod:
    provider: openai-org
    secrets: [{store: vault, path: litellm/providers, field: OPENAI_API_KEY}, {store: aws, name: prod/openai}]
    canary: {proxy: local, model: gpt-4o-mini, deployment: a, propagation: 2m, timeout: 10s}
    proxies: [local, other]
    schedule: "0 3 * * 1"
    timezone: Europe/Berlin
    overlap: 24h
    key_lifetime: 30d
    on_incident: prove_first
  openai-batch:
    provider: openai-org
    secrets: [{store: aws, name: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:batch-AbCdEf"}]
    env: OPENAI_BATCH_KEY
    canary: {proxy: local, model: batch}
    proxies: [local]
    max_age: 30d
  openai-plain:
    provider: openai-org
    secrets: [{store: aws, name: plain, field: key}]
    canary: {proxy: other, model: batch}
    proxies: [other]
    env: PLAIN
  bedrock-prod:
    provider: bedrock
    secrets: [{store: aws, name: prod/bedrock}]
    canary: {proxy: local, model: nova}
    proxies: [local]
  bedrock-batch:
    provider: bedrock
    secrets: [{store: vault, path: litellm/batch, field: BEDROCK}]
    canary: {proxy: other, model: nova}
    proxies: [local, other]
    env: {aws_access_key_id: BATCH_ID, aws_secret_access_key: BATCH_SECRET}
"""


def lean(source: str, proxy: str = "local") -> Plan | None:
    try:
        return plan_of(plain_document(source), proxy)
    except Declined:
        return None


def same(plan: Plan, config: Config, proxy: str = "local") -> None:
    """Nothing is read, named, or taken away otherwise than by the full path."""
    asked: list[str] = []
    found = variables(config, proxy, lambda name: asked.append(name))  # type: ignore[arg-type,return-value]
    assert [(read.credential, read.names) for read in plan.reads] == [(each.credential, each.names) for each in found]
    secrets = [config.credentials[each.credential].secrets[0] for each in found]
    assert [tuple(read.secret) for read in plan.reads] == [(each.store, each.path, each.field) for each in secrets]
    environment = dict.fromkeys([*plan.own, *own_secrets(config, proxy), "KEYTURN_CONFIG", "PATH", "OPENAI_API_KEY"], "x")
    assert inherited(environment, plan.own) == inherited(environment, own_secrets(config, proxy))
    assert set(plan.stores) == set(asked)
    for name, (kind, settings) in plan.stores.items():
        assert config.stores[name].kind == kind
        full = config.stores[name].settings.model_dump()
        for setting, value in settings.items():
            wanted = {name: full[setting][name] for name in value} if isinstance(value, dict) else full[setting]
            assert plain_form(value) == plain_form(wanted) or value == str(wanted), setting
        assert not [each for each in ("profile", "role_arn") if full.get(each)]


def plain_form(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain_form(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str) and value.startswith("http"):
        return value.rstrip("/")
    if isinstance(value, str):
        try:
            return durations.parse(value)
        except ValueError:
            return value
    return str(value) if isinstance(value, Path) else value


# What it takes --------------------------------------------------------------------------------------------------------


COMPOSE = (ROOT / "deployments/compose.keyturn.yaml").read_text()
PLAIN = COMPOSE[: COMPOSE.index("incidents:")]
PAGE = next(re.finditer(r"^```yaml\n(.*?)^```", (ROOT / "docs/bootstrap.md").read_text(), re.DOTALL | re.MULTILINE))[1]
TAKEN = {"page": PAGE, "good": GOOD, "full": FULL, "compose": PLAIN, "again": yaml.safe_dump(yaml.safe_load(FULL))}


@pytest.mark.parametrize("name", TAKEN)
def test_a_plain_file_is_taken_and_means_the_same(name: str) -> None:
    source = TAKEN[name]
    config = parse(source)
    for proxy in config.proxies:
        plan = lean(source, proxy)
        assert plan is not None, proxy
        same(plan, config, proxy)


# What it leaves to the full path --------------------------------------------------------------------------------------

LEFT = {
    "a profile": ("region: us-east-1", "region: us-east-1, profile: work"),
    "a role": ("region: us-east-1", 'region: us-east-1, role_arn: "arn:aws:iam::123456789012:role/reader"'),
    "another partition": ("region: us-east-1", "region: cn-north-1"),
    "a private part": ("region: us-east-1", "region: us-gov-west-1"),
    "a certificate that is not checked": ("kind: vault_kv2", "kind: vault_kv2, verify: false"),
    "a reference into a store": ("admin_key: env:OPENAI_ADMIN_KEY", "admin_key: store:vault/a#b"),
    "null": ("schedule: ", "max_age: null\n    schedule: "),
    "an anchor": ("proxies: [local]", "proxies: &a [local]"),
    "a tag": ("provider: openai-org", "provider: !!str openai-org"),
    "an escape": ("model: gpt-4o-mini", 'model: "gpt-4o\\x2dmini"'),
    "a block": ("    overlap: 24h", "    overlap: |-\n      24h"),
    "an address with a number of IPv6": ("http://127.0.0.1:8200", "http://[::1]:8200"),
    "a sweep": ("providers:", "sweep: {every: 5m}\nproviders:"),
    "callers of the incident service": (GOOD, COMPOSE),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_is_not_plain_is_left_though_it_is_good(what: str) -> None:
    source = GOOD.replace(*LEFT[what])
    assert isinstance(parse(source), Config), "else this shows nothing"
    assert lean(source) is None


FAULTY = {
    "parts of a key that has none": ("    overlap: 24h", "    overlap: 24h\n    env: {aws_access_key_id: ID}"),
    "no name at all": ("    overlap: 24h", "    overlap: 24h\n    env: {}"),
    "a setting that is unknown": ("project: proj_abc", "project: proj_abc, projekt: x"),
    "a setting that is missing": ("project: proj_abc, ", ""),
    "a name that stands twice": ("    overlap: 24h", "    overlap: 24h\n    overlap: 23h"),
    "a section too many": ("providers:", "others: {a: b}\nproviders:"),
    "a schedule that is none": ("0 3 * * 1", "0 3 * * 8"),
    "an overlap that is too long": ("overlap: 24h", "overlap: 8d"),
    "two ways to say when": ("overlap: 24h", "overlap: 24h\n    max_age: 30d"),
    "a zone that is none": ("overlap: 24h", "overlap: 24h\n    timezone: Europe/Berlim"),
    "a link that leads nowhere": ("provider: openai-org\n    secrets", "provider: openai\n    secrets"),
    "a key that expires too soon": ("overlap: 24h", "overlap: 24h\n    key_lifetime: 8d"),
    "a member that is listed twice": ('members: ["', 'members: ["http://127.0.0.1:4001", "'),
    "a value that two write": ("- {store: aws, name: prod/openai/api_key}", "- {store: vault, path: litellm/providers}"),
    "a port that is none": ("http://127.0.0.1:4001", "http://127.0.0.1:70001"),
    "a credential of half a login": ("region: us-east-1", "region: us-east-1, access_key_id: env:A"),
}


@pytest.mark.parametrize("what", FAULTY)
def test_a_fault_anywhere_is_left_to_the_full_path_which_words_it(what: str) -> None:
    source = GOOD.replace(*FAULTY[what])
    with pytest.raises(ConfigError):
        parse(source)
    assert lean(source) is None


@pytest.mark.parametrize("shape", PLANTED)
def test_a_literal_key_anywhere_is_left_too(shape: str) -> None:
    for source in (f"{GOOD}# {PLANTED[shape]}\n", GOOD.replace("proj_abc", PLANTED[shape])):
        assert lean(source) is None


def test_a_proxy_that_is_not_there_or_is_given_nothing_is_left() -> None:
    assert lean(GOOD, "other") is None
    nothing = GOOD.replace(
        "credentials:", '  idle: {kind: process, members: ["http://127.0.0.1:4009"], master_key: env:M}\ncredentials:'
    )
    parse(nothing)
    assert lean(nothing, "idle") is None


def test_two_keys_of_one_variable_are_left() -> None:
    second = GOOD[GOOD.index("  openai-prod:") :].replace("openai-prod", "openai-two").replace("prod/openai", "two/openai")
    source = GOOD + second.replace("path: litellm/providers", "path: litellm/two")
    with pytest.raises(MisconfiguredError):
        variables(parse(source), "local", lambda _: None)  # type: ignore[arg-type,return-value]
    assert lean(source) is None


def test_names_that_do_not_fit_the_parts_of_a_key_are_left() -> None:
    for wrong in ("NAME", "{id: A}", "{aws_access_key_id: A, aws_secret_access_key: A}", "{aws_access_key_id: 'a b'}"):
        source = FULL.replace("{aws_access_key_id: BATCH_ID, aws_secret_access_key: BATCH_SECRET}", wrong)
        with pytest.raises(ConfigError):
            parse(source)
        assert lean(source) is lean(source, "other") is None
    elsewhere = FULL.replace("env: PLAIN", "env: {aws_access_key_id: A}")  # of a credential that `local` is not given
    with pytest.raises(ConfigError):
        parse(elsewhere)
    assert lean(elsewhere) is None
    source = FULL.replace("{aws_access_key_id: BATCH_ID, aws_secret_access_key: BATCH_SECRET}", "{aws_access_key_id: A}")
    parse(source)
    assert lean(source) is None and lean(source, "other") is not None


LOGINS = {
    "token": "token: env:TOKEN",
    "approle": "role_id: env:ROLE_ID, secret_id: env:SECRET_ID, mount: roles",
    "kubernetes": "role: proxy, token_file: /run/token, mount: cluster/a",
    "kubernetes in its usual place": "role: proxy",
    "jwt": "role: proxy.ci@a, token: file:/run/token",
}


@pytest.mark.parametrize("name", LOGINS)
def test_each_login_that_is_known_means_the_same(name: str) -> None:
    method = name.split()[0]
    source = GOOD.replace("{method: token, token: env:VAULT_TOKEN}", f"{{method: {method}, {LOGINS[name]}}}")
    assert source != GOOD and lean(source) is not None
    try:
        config = parse(source)
    except ConfigError:
        if method in ("token", "approle"):
            raise
        pytest.skip(f"skipped: the store itself does not know the login {method}")
    plan = lean(source)
    assert plan is not None
    same(plan, config)


# And whatever else stands there ---------------------------------------------------------------------------------------

DOCUMENTS = [yaml.safe_load(FULL), yaml.safe_load(GOOD)]


@fuzz(250)
@given(st.sampled_from(DOCUMENTS).flatmap(lambda document: changed(document, most=2)))
def test_a_changed_file_is_left_or_means_the_same(wrong: Changed) -> None:
    left_or_the_same(written(wrong.document))


PIECES = [
    *(
        "null", "~", "yes", "1", "1.5", "0x10", "010", "1_000", "1:30", "2026-01-01", "=", "<<", "''", '""', "''''", "a: b",
        "[a]", "{a: b}", "- a", "é", "\u00a0", "#x", " #x", "''a''", "true", "True", "0s", "1w", "99999d", "100000w", "24H",
        "-1", "+1", "1e3", ".5", "12e03", "-", "?", ": ", ",", "%", "@", "`", "'", '"', "\n", "  ", "\n  ", "aws", "vault",
        "local", "other", "env:X", "file:/x", "store:vault/a", "file:", "https://a", "http://a_b", "http://a.b./", "http://-a",
        "http://a/b?c", "http://xn--zckzah", "http://256.1.1.1", "us-east-1", "eu-north-1", "UTC", "Europe/Paris",
        "US/Pacific", "Factory", "America/Argentina/Ushuaia", "*/5 * * * *", "0 0 * * *", "0 3 * * MON-FRI", "kind: process",
        "gpt:x", "gpt: x", "a#b", "a #b", "[", "]", "{", "}", "|", ">", "&a ", "*a", "!!str ",
    ),
    *SNIPPETS,
]  # fmt: skip


@st.composite
def edited(draw: Any) -> str:
    """A good text, in which values are replaced by others, or pieces put in at any place."""
    source: str = draw(st.sampled_from([FULL, GOOD]))
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            words = source.split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(PIECES))
            source = " ".join(words)
            continue
        start = draw(st.integers(0, len(source)))
        end = min(len(source), start + draw(st.sampled_from([0, 0, 0, 1, 3, 20])))
        source = source[:start] + draw(st.sampled_from([*PIECES, source[start:end] * 2])) + source[end:]
    return source


@fuzz(400)
@given(edited())
def test_an_edited_text_is_left_or_means_the_same(source: str) -> None:
    left_or_the_same(source)


SETTINGS = [
    (section, name, setting)
    for section in ("providers", "stores", "proxies", "credentials")
    for name, settings in DOCUMENTS[0][section].items()
    for setting in settings
]
VALUES: list[Any] = [*PIECES, None, True, 0, -1, 1.5, 65536, "", [], {}, ["local"], [1], {"method": "token"}, "9" * 400]


@pytest.mark.parametrize(("section", "name", "setting"), SETTINGS, ids=lambda value: value)
def test_each_setting_with_each_value_is_left_or_means_the_same(section: str, name: str, setting: str) -> None:
    text = document_with(section, name, setting)
    for value in VALUES:
        plan = lean(text(value))
        if plan is not None:  # only then: the full path takes its time
            same(plan, parse(text(value)))


def document_with(section: str, name: str, setting: str) -> Callable[[Any], str]:
    """The first document with this value there. All else is written once, not thousands of times."""
    document = copy.deepcopy(DOCUMENTS[0])
    document[section][name][setting] = "MARK"
    before, after = written(document).split(f"    {setting}: MARK\n")

    def text(value: Any) -> str:
        alone = written({section: {name: {setting: value}}})
        return f"{before}{alone.split(chr(10), 2)[2]}{after}" if alone != "{}" else alone

    document[section][name][setting] = ["local"]
    assert text(["local"]) == written(document)
    return text


def left_or_the_same(source: str) -> None:
    for proxy in ("local", "other"):
        plan = lean(source, proxy)
        if plan is not None:
            same(plan, parse(source), proxy)


# Its own parts --------------------------------------------------------------------------------------------------------


@fuzz(200)
@given(st.text("0123456789smhdw", max_size=12))
def test_a_duration_is_as_long_as_to_the_full_path(text: str) -> None:
    try:
        found = seconds(text)
    except Declined:
        return
    assert found == durations.parse(text).total_seconds()


@pytest.mark.parametrize(
    "text", ["ftp://a", "http://", "http://a:0", "http://a:99999", "http://u:p@a", "http://a/b c", "http://a?b", "https://ä"]
)
def test_an_address_that_is_not_plain_is_left(text: str) -> None:
    with pytest.raises(Declined):
        split_address(text)


def test_the_kinds_are_those_of_the_registry_and_no_others() -> None:
    for section, known in KINDS.items():
        assert set(known) <= set(kinds(section))
