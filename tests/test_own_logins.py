"""keyturn.yaml that has keyturn's own login rotated: what is good, and what is refused before anything is created."""

from __future__ import annotations

import re

import pytest

from keyturn.config import ConfigError, parse
from keyturn.delivery.variables import names, variables
from keyturn.errors import MisconfiguredError
from keyturn.grants import proxy, rotator
from keyturn.model import SecretRef

GOOD = """
providers:
  openai-admin: {kind: openai_admin_key, admin_key: "store:vault/keyturn/openai#ADMIN_KEY"}
  openai-org: {kind: openai, admin_key: "store:vault/keyturn/openai#ADMIN_KEY", project: proj_abc}
  google: {kind: vertex, access_token: env:TOKEN, project: p, service_account: s@p.iam.gserviceaccount.com}
stores:
  vault: {kind: vault_kv2, address: "http://127.0.0.1:8200", auth: {method: token, token: env:VAULT_TOKEN}}
  aws: {kind: aws_secrets_manager, region: us-east-1}
proxies:
  itself: {kind: keyturn}
  local: {kind: process, members: ["http://127.0.0.1:4001"], control_token: env:T, master_key: env:M}
credentials:
  openai-admin:
    provider: openai-admin
    secrets: [{store: vault, path: keyturn/openai, field: ADMIN_KEY}]
    proxies: [itself]
    max_age: 30d
  openai-prod:
    provider: openai-org
    secrets: [{store: vault, path: litellm/providers, field: OPENAI_API_KEY}]
    canary: {proxy: local, model: gpt-4o-mini}
    proxies: [local]
"""
LOGIN = '{kind: openai_admin_key, admin_key: "store:vault/keyturn/openai#ADMIN_KEY"}'


def faults(source: str) -> str:
    with pytest.raises(ConfigError) as failure:
        parse(source)
    return str(failure.value)


def test_a_login_that_rotates_itself_is_good_and_needs_no_canary() -> None:
    config = parse(GOOD)
    assert config.login_of("openai-admin") == "store:vault/keyturn/openai#ADMIN_KEY"
    assert config.serves_keyturn(config.credentials["openai-admin"])
    assert not config.serves_keyturn(config.credentials["openai-prod"])
    assert config.credentials["openai-admin"].canary_proxy == "itself"
    parse(GOOD.replace("    proxies: [itself]", "    canary: {proxy: itself, propagation: 2m}\n    proxies: [itself]"))


def test_who_else_reads_the_same_login_is_found() -> None:
    assert parse(GOOD).users_of("openai-admin") == ["providers.openai-org.admin_key"]
    assert parse(GOOD).users_of("openai-prod") == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("env:ADMIN", "providers.openai-admin.admin_key (line 3): is env:, which keyturn cannot write"),
        ("file:/run/admin", "providers.openai-admin.admin_key (line 3): is file:, which keyturn cannot write"),
        ("store:vault/keyturn/openai#OTHER", "names another secret than the one that is rotated"),
        ("store:vault/keyturn/openai", "names another secret than the one that is rotated"),
        ("store:aws/keyturn/openai#ADMIN_KEY", "names another secret than the one that is rotated"),
    ],
)
def test_a_login_that_the_rotation_would_not_change_is_refused(wrong: str, said: str) -> None:
    text = faults(GOOD.replace(LOGIN, f'{{kind: openai_admin_key, admin_key: "{wrong}"}}'))
    assert said in text
    assert "It has to be store:vault/keyturn/openai#ADMIN_KEY, the secret that openai-admin rotates" in text


def test_a_further_secret_is_no_login_the_first_one_decides() -> None:
    first = "{store: vault, path: keyturn/openai, field: ADMIN_KEY}"
    parse(GOOD.replace(first, f"{first}, {{store: aws, name: copy}}"))
    assert "names another secret" in faults(GOOD.replace(first, f"{{store: aws, name: copy}}, {first}"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("provider: openai-admin", "provider: openai-org", "a key of the kind openai cannot be what keyturn logs in with"),
        ("provider: openai-admin", "provider: google", "providers.google.access_token: is env:"),
        ("proxies: [itself]", "proxies: [itself, local]", "keyturn shares its login with no proxy"),
        ("proxies: [itself]", "proxies: [itself]\n    env: NAME", "env: no proxy reads this credential"),
        ("proxies: [itself]", "proxies: [itself]\n    canary: {proxy: local, model: gpt}", "keyturn tries its own login"),
        ("proxies: [itself]", "proxies: [itself]\n    canary: {proxy: itself, model: gpt}", "keyturn tries its own login"),
        ("proxies: [itself]", "proxies: [itself]\n    on_incident: revoke_first", "cannot make its successor"),
        (
            "proxies: [itself]",
            "proxies: [local]\n    canary: {proxy: local, model: gpt}",
            "must name one of the kind keyturn",
        ),
        ("canary: {proxy: local, model: gpt-4o-mini}", "", "credentials.openai-prod.canary: is missing"),
        ("{proxy: local, model: gpt-4o-mini}", "{proxy: local}", "canary.model: is missing"),
        ("{proxy: local, model: gpt-4o-mini}", "{model: gpt}", "canary.proxy: is missing"),
        ("{proxy: local, model: gpt-4o-mini}", '{proxy: local, model: ""}', "canary.model: must not be empty"),
        ("{proxy: local, model: gpt-4o-mini}", "{proxy: itself, model: gpt}", "canary.proxy: is keyturn itself"),
        ("kind: keyturn", "kind: keyturn, members: []", "proxies.itself.members: unknown setting"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in re.sub(r" \(line \d+\)", "", faults(GOOD.replace(old, new)))


def test_a_store_that_needs_the_login_which_it_keeps_is_refused() -> None:
    token = "token: env:VAULT_TOKEN"
    assert "needs a secret that only it can read" in faults(
        GOOD.replace(token, 'token: "store:vault/keyturn/openai#ADMIN_KEY"')
    )


def test_no_proxy_is_given_the_login_or_may_read_it() -> None:
    config, own = parse(GOOD), SecretRef("vault", "keyturn/openai", "ADMIN_KEY")
    assert list(names(config, "local")) == ["openai-prod"]
    with pytest.raises(MisconfiguredError, match="itself is keyturn itself"):
        variables(config, "itself", lambda _: None)  # type: ignore[arg-type,return-value]  # nothing is read
    assert proxy(config, "vault").read == (SecretRef("vault", "litellm/providers", "OPENAI_API_KEY"),)
    assert proxy(config, "vault", "itself").read == ()
    assert own in rotator(config, "vault").turned
