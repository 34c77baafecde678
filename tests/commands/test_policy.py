"""keyturn policy: what is printed is what the store takes, for the secrets of this configuration alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli import app
from keyturn.fleets.kubernetes_rules import rules
from keyturn.kubernetes.rollout import Kind
from keyturn.stores.kubernetes_rules import manifests

ROOT = Path(__file__).parents[2]

CONFIG = """
providers:
  org: {kind: openai, admin_key: "store:vault/team/admin#KEY", project: proj_abc, service_account: svc_acct_abc}
stores:
  vault: {kind: vault_kv2, address: "http://127.0.0.1:1", mount: kv, staging_prefix: kt, auth: {method: token, token: env:T}}
  aws: {kind: aws_secrets_manager, region: eu-west-1, replicas: [us-east-1]}
  kube: {kind: kubernetes_secret, namespace: llm}
  other: {kind: aws_secrets_manager, region: us-east-1, role_arn: "arn:aws-cn:iam::210987654321:role/keyturn"}
proxies:
  one: {kind: process, members: ["http://127.0.0.1:4001"], master_key: env:M}
  two: {kind: process, members: ["http://127.0.0.1:4002"], master_key: env:M}
credentials:
  a:
    provider: org
    secrets:
      - {store: vault, path: llm/keys, field: A_API_KEY}
      - {store: aws, name: prod/a}
      - {store: kube, path: keys, field: A}
    canary: {proxy: one, model: m}
    proxies: [one]
  b:
    provider: org
    secrets: [{store: vault, path: llm/keys, field: B_API_KEY}]
    canary: {proxy: two, model: m}
    proxies: [two]
  c:
    provider: org
    secrets: [{store: vault, path: llm/whole}]
    env: C_API_KEY
    canary: {proxy: two, model: m}
    proxies: [two, one]
  d:
    provider: org
    secrets: [{store: aws, name: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/d-AbCdEf"}]
    env: D_API_KEY
    canary: {proxy: two, model: m}
    proxies: [two]
  e:
    provider: org
    secrets: [{store: other, name: prod/e}]
    env: E_API_KEY
    canary: {proxy: two, model: m}
    proxies: [two]
"""
A, D = "prod/a-??????", "prod/d-AbCdEf"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keyturn.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("KEYTURN_CONFIG", str(path))
    return path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["policy", *words])


def printed(*words: str) -> str:
    result = typed(*words)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def stanzas(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.split('"')[1]: line.partition("= ")[2].rstrip(" }") for line in lines}


def document(*words: str) -> dict[str, Any]:
    statements = json.loads(printed("aws", *words))["Statement"]
    return {statement["Sid"]: statement for statement in statements}


def arn(name: str, region: str = "eu-west-1") -> str:
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:{name}"


def test_vault_for_the_rotator() -> None:
    assert stanzas(printed("vault")) == {
        "kv/data/llm/keys": '["read", "update"]',
        "kv/data/llm/whole": '["read", "update"]',
        "kv/data/kt/llm/keys/A_API_KEY": '["read", "update"]',
        "kv/metadata/kt/llm/keys/A_API_KEY": '["create", "read", "update", "patch"]',
        "kv/data/kt/llm/keys/B_API_KEY": '["read", "update"]',
        "kv/metadata/kt/llm/keys/B_API_KEY": '["create", "read", "update", "patch"]',
        "kv/data/kt/llm/whole/_value": '["read", "update"]',
        "kv/metadata/kt/llm/whole/_value": '["create", "read", "update", "patch"]',
        "kv/data/team/admin": '["read"]',  # the admin key, by reference
    }


def test_vault_for_who_puts_a_first_key() -> None:
    found = stanzas(printed("vault", "--create"))
    assert found["kv/data/llm/keys"] == '["create", "read", "update"]'


def test_vault_for_a_proxy() -> None:
    assert stanzas(printed("vault", "--for", "proxy")) == {"kv/data/llm/keys": '["read"]', "kv/data/llm/whole": '["read"]'}
    assert set(stanzas(printed("vault", "--for", "proxy", "--proxy", "two"))) == {"kv/data/llm/keys", "kv/data/llm/whole"}


def test_aws_for_the_rotator() -> None:
    found = document("--store", "aws", "--account", "123456789012")
    assert set(found) == {"TurnTheSecrets", "WriteNotesBesideThem"}
    assert found["TurnTheSecrets"]["Resource"] == [arn(A), arn(D)]
    assert found["WriteNotesBesideThem"]["Condition"]["ForAllValues:StringLike"] == {"aws:TagKeys": ["keyturn:*"]}


def test_aws_for_a_proxy_in_every_region() -> None:
    found = document("--store", "aws", "--for", "proxy")
    assert set(found) == {"ReadTheSecrets"}
    assert found["ReadTheSecrets"]["Action"] == ["secretsmanager:GetSecretValue"]
    assert found["ReadTheSecrets"]["Resource"] == [arn(D), arn(D, "us-east-1")]  # `a` is decided by Vault


def test_kubernetes_for_the_rotator() -> None:
    role, binding = yaml.safe_load_all(printed("kubernetes"))
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in role["rules"]] == [
        (["get", "update"], ["keys"]),
        (["get", "update"], ["keys.a-559aead0.keyturn"]),  # of the key `A`: names of Secrets are in lower case
        (["create"], None),
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "keyturn", "namespace": "llm"}]


@pytest.mark.parametrize(("words", "verbs"), [((), ["get"]), (("--watch",), ["get", "watch"])])
def test_kubernetes_for_a_proxy_and_for_a_key_ring(words: tuple[str, ...], verbs: list[str], config: Path) -> None:
    config.write_text(
        CONFIG
        + """
  f:
    provider: org
    secrets: [{store: kube, path: own, field: F_API_KEY}]
    canary: {proxy: two, model: m}
    proxies: [two]
"""
    )
    role, _ = yaml.safe_load_all(printed("kubernetes", "--for", "proxy", *words))
    assert [(rule["verbs"], rule["resourceNames"]) for rule in role["rules"]] == [(verbs, ["own"])]


PODS = "  pods: {kind: kubernetes, namespace: llm, selector: app=litellm, kinds: [Deployment], master_key: env:M}\n"


def with_pods(config: Path, text: str = CONFIG) -> None:
    """a is written to a Secret of their namespace, and c to Vault alone."""
    text = text.replace("credentials:\n", f"{PODS}credentials:\n", 1)
    config.write_text(text.replace("proxies: [one]\n", "proxies: [one, pods]\n").replace("[two, one]", "[two, pods]"))


def test_kubernetes_for_who_rolls_pods(config: Path) -> None:
    with_pods(config)
    text = printed("kubernetes")
    _, _, role, binding = yaml.safe_load_all(text)
    assert (role["metadata"], binding["roleRef"]["name"]) == (
        {"name": "keyturn-roll-pods", "namespace": "llm"},
        "keyturn-roll-pods",
    )
    assert role["rules"] == rules(["keys"], [Kind.DEPLOYMENT])
    assert re.findall(r"^# (.*): add `get`", text, re.MULTILINE) == ["c"], "an operator brings it from Vault"
    assert "roll" not in printed("kubernetes", "--store", "kube")


@pytest.mark.parametrize(
    ("words", "account", "space"), [((), "keyturn", "llm"), (("--service-account", "ops/rotator"), "rotator", "ops")]
)
def test_kubernetes_binds_to_the_account_that_is_named(
    words: tuple[str, ...], account: str, space: str, config: Path
) -> None:
    config.write_text(CONFIG.replace("credentials:", f"{PODS}credentials:", 1))
    bindings = [each for each in yaml.safe_load_all(printed("kubernetes", *words)) if each["kind"] == "RoleBinding"]
    assert [each["metadata"] for each in bindings] == [
        {"name": "keyturn", "namespace": "llm"},
        {"name": "keyturn-roll-pods", "namespace": "llm"},
    ]
    for each in bindings:
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": space}]


def test_kubernetes_without_a_store_there(config: Path) -> None:
    lines = [line for line in CONFIG.splitlines(keepends=True) if "kube" not in line]
    with_pods(config, "".join(lines))
    role, _ = yaml.safe_load_all(printed("kubernetes"))
    assert role["rules"] == rules([], [Kind.DEPLOYMENT])


def test_the_example_of_a_fleets_role_is_what_the_function_gives() -> None:
    documents = list(yaml.safe_load_all((ROOT / "deployments" / "kubernetes-fleet-role.yaml").read_text()))
    made = manifests({"litellm": rules(["llm-keys"], tuple(Kind))}, "keyturn-roll-prod", "litellm/keyturn")
    assert documents == made


def test_the_account_is_that_of_the_role() -> None:
    found = document("--store", "other")
    assert found["TurnTheSecrets"]["Resource"] == ["arn:aws-cn:secretsmanager:us-east-1:210987654321:secret:prod/e-??????"]


def test_a_kms_key_is_used_for_these_secrets_alone() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222"
    for words, actions in (((), ["kms:Decrypt", "kms:GenerateDataKey"]), (("--for", "proxy"), ["kms:Decrypt"])):
        found = document("--store", "aws", "--account", "123456789012", "--kms-key", key, *words)
        statement = found["WithTheirKmsKey"]
        assert (statement["Action"], statement["Resource"]) == (actions, [key])
        secrets = found["ReadTheSecrets" if words else "TurnTheSecrets"]["Resource"]
        assert statement["Condition"]["StringLike"] == {"kms:EncryptionContext:SecretARN": secrets}


ECS = "two: {kind: ecs, region: eu-west-1, cluster: c, services: [gateway], port: 4000, master_key: env:M}"


def test_for_the_rotator_services_of_ecs_may_be_rolled(config: Path) -> None:
    process = 'two: {kind: process, members: ["http://127.0.0.1:4002"], master_key: env:M}'
    config.write_text(CONFIG.replace(process, ECS))
    found = document("--store", "aws", "--account", "123456789012")
    assert found["RollTheServices"]["Resource"] == ["arn:aws:ecs:eu-west-1:123456789012:service/c/gateway"]
    assert "TurnTheSecrets" in found
    assert "RollTheServices" not in document("--store", "aws", "--account", "123456789012", "--for", "proxy")


def test_where_no_store_is_of_aws_the_policy_is_of_ecs_alone(config: Path) -> None:
    config.write_text(f"""
providers:
  org: {{kind: openai, admin_key: env:A, project: proj_abc, service_account: svc_acct_abc}}
stores:
  vault: {{kind: vault_kv2, address: "http://127.0.0.1:1", auth: {{method: token, token: env:T}}}}
proxies:
  {ECS}
credentials:
  a:
    provider: org
    secrets: [{{store: vault, path: llm/keys, field: A_API_KEY}}]
    canary: {{proxy: two, model: m}}
    proxies: [two]
""")
    assert "NameTheRoll" in document("--account", "123456789012")
    result = typed("aws", "--account", "12")
    assert (result.exit_code, "twelve digits" in result.stderr) == (2, True)


def test_nothing_allows_anything_everywhere() -> None:
    for words in (["--account", "123456789012"], ["--for", "proxy"], ["--account", "123456789012", "--create"]):
        for statement in document("--store", "aws", *words).values():
            assert all(":secret:" in resource for resource in statement["Resource"])
            assert not any(action.endswith("*") for action in statement["Action"])


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["aws"], "give --store with one of: aws, other"),
        (["aws", "--store", "aws"], "give --account"),
        (["aws", "--store", "vault"], "give --store with one of"),
        (["aws", "--store", "aws", "--account", "12"], "twelve digits"),
        (["aws", "--store", "aws", "--account", "123456789012", "--kms-key", "alias/x"], "ARN of a KMS key"),
        (["vault", "--account", "123456789012"], "leave them out"),
        (["vault", "--proxy", "one"], "add --for proxy"),
        (["vault", "--for", "proxy", "--create"], "leave --create out"),
        (["vault", "--for", "proxy", "--watch"], "use kubernetes --for proxy"),
        (["kubernetes", "--watch"], "use kubernetes --for proxy"),
        (["vault", "--service-account", "keyturn"], "for kubernetes"),
        (["kubernetes", "--service-account", "a/b/c"], "of the form"),
        (["vault", "--for", "proxy", "--proxy", "three"], "use one of: one, two"),
        (["aws", "--store", "other", "--for", "proxy", "--proxy", "one"], "look at secrets and proxies"),
    ],
)
def test_what_cannot_be_meant_is_told(words: list[str], remedy: str) -> None:
    result = typed(*words)
    assert result.exit_code == 2, result.output
    assert remedy in result.stderr
    assert result.stdout == ""
