"""What `keyturn agent-config` writes for operators and the injector: names that these have, and values that stay values.

No schema of theirs is installed here. The names below are those of the releases that the modules name, read there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.cli import app
from keyturn.config import parse
from keyturn.delivery.agent import Choices, Plan, external_secrets, injector, vault_agent, vault_secrets
from keyturn.errors import MisconfiguredError
from tests.delivery.agent.written import configuration

BUNDLE = {
    "openai": {"store": "vault", "path": "litellm/providers", "field": "OPENAI_API_KEY"},
    "odd": {"store": "vault", "path": "litellm/providers", "field": "9.odd-field"},
    "whole": {"store": "vault", "path": "litellm/GEMINI_API_KEY"},
}
AWS = {
    "batch": {"store": "aws", "name": "prod/batch"},
    "anthropic": {"store": "aws", "name": "prod/all", "field": "ANTHROPIC_API_KEY"},
}
ENV = {"odd": "ODD_KEY", "whole": "GEMINI_API_KEY", "batch": "BATCH_KEY"}
BOTH = ("vault_kv2", "aws_secrets_manager")
TEAM = {"namespace": "team", "ca_file": "/etc/ssl/team's.pem"}

SPEC = {  # which names a spec may have, below a kind; what ends in * may have any
    "ExternalSecret": {
        "refreshInterval", "secretStoreRef.kind", "secretStoreRef.name", "target.name", "target.creationPolicy",
        "target.deletionPolicy", "target.template.engineVersion", "target.template.data.*", "data.secretKey",
        "data.remoteRef.key", "data.remoteRef.property", "data.sourceRef.storeRef.kind", "data.sourceRef.storeRef.name",
    },
    "SecretStore": {
        "provider.vault.server", "provider.vault.path", "provider.vault.version", "provider.vault.namespace",
        "provider.vault.caProvider.type", "provider.vault.caProvider.name", "provider.vault.caProvider.key",
        "provider.vault.auth.kubernetes.mountPath", "provider.vault.auth.kubernetes.role",
        "provider.vault.auth.kubernetes.serviceAccountRef.name", "provider.aws.service", "provider.aws.region",
        "provider.aws.auth.jwt.serviceAccountRef.name",
    },
    "VaultConnection": {"address", "skipTLSVerify", "caCertSecretRef"},
    "VaultAuth": {
        "vaultConnectionRef", "namespace", "method", "mount", "kubernetes.role", "kubernetes.serviceAccount",
    },
    "VaultStaticSecret": {
        "vaultAuthRef", "namespace", "mount", "type", "path", "refreshAfter", "destination.name", "destination.create",
        "destination.transformation.excludeRaw", "destination.transformation.excludes",
        "destination.transformation.templates.*",
    },
}  # fmt: skip
API = {
    "ExternalSecret": "external-secrets.io/v1",
    "SecretStore": "external-secrets.io/v1",
    **dict.fromkeys(("VaultConnection", "VaultAuth", "VaultStaticSecret"), "secrets.hashicorp.com/v1beta1"),
}
ANNOTATIONS = {
    "agent-inject", "role", "auth-path", "service", "namespace", "ca-cert", "tls-skip-verify", "secret-volume-path",
    "template-static-secret-render-interval", "agent-run-as-same-user",
}  # fmt: skip
PER_FILE = {
    "agent-inject-secret-", "agent-inject-file-", "agent-inject-template-", "agent-inject-perms-", "error-on-missing-key-",
}  # fmt: skip


def plan(secrets: Mapping[str, Any], kinds: tuple[str, ...] = BOTH, choices: Choices | None = None, **store: Any) -> Plan:
    return Plan.of(parse(configuration(secrets, ENV, **store)), "local", kinds, choices or Choices())


def leaves(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{prefix}{name}.")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, prefix)
    else:
        yield prefix.removesuffix(".")


def loaded(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def fits(documents: list[dict[str, Any]]) -> None:
    for each in documents:
        assert each["apiVersion"] == API[each["kind"]]
        known = SPEC[each["kind"]]
        for leaf in leaves(each["spec"]):
            assert leaf in known or any(leaf.startswith(name[:-1]) for name in known if name.endswith("*")), leaf
        name = each["metadata"]["name"]
        assert name.strip("-") == name and name.replace("-", "").isalnum(), name


# Operators --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [{}, TEAM], ids=["plain", "namespace and authority"])
def test_external_secrets_reads_each_value_from_its_own_store(store: dict[str, Any]) -> None:
    documents = loaded(external_secrets(plan({**BUNDLE, **AWS}, **store))["external-secret.yaml"])
    fits(documents)
    vault, aws, secret = documents
    assert aws["spec"]["provider"]["aws"]["region"] == "eu-west-1"
    assert vault["spec"]["provider"]["vault"].get("namespace") == store.get("namespace")
    found = {each["secretKey"]: each for each in secret["spec"]["data"]}
    assert {name: each["remoteRef"] for name, each in found.items()} == {
        "OPENAI_API_KEY": {"key": "litellm/providers", "property": "OPENAI_API_KEY"},
        "ODD_KEY": {"key": "litellm/providers", "property": "9.odd-field"},
        "GEMINI_API_KEY": {"key": "litellm/GEMINI_API_KEY", "property": "key"},
        "BATCH_KEY": {"key": "prod/batch"},
        "ANTHROPIC_API_KEY": {"key": "prod/all", "property": "ANTHROPIC_API_KEY"},
    }
    stores = {name: each["sourceRef"]["storeRef"]["name"] for name, each in found.items()}
    assert stores["BATCH_KEY"] == aws["metadata"]["name"] and stores["ODD_KEY"] == vault["metadata"]["name"]
    (lines,) = secret["spec"]["target"]["template"]["data"].values()
    assert [line.split("=")[0] for line in lines.splitlines()] == list(found)
    assert lines.endswith("\n")
    assert lines.splitlines()[1] == r"""ODD_KEY='{{ .ODD_KEY | replace "\\" "\\\\" | replace "'" "\\'" }}'"""


def test_external_secrets_has_no_way_to_leave_out_the_certificates_check() -> None:
    with pytest.raises(MisconfiguredError, match="always checks"):
        external_secrets(plan(BUNDLE, verify=False))


@pytest.mark.parametrize("store", [{}, {**TEAM, "verify": False}], ids=["plain", "namespace and authority"])
def test_vault_secrets_has_a_file_for_each_path(store: dict[str, Any]) -> None:
    files = vault_secrets(plan(BUNDLE, ("vault_kv2",), **store))
    documents = loaded(files["vault-static-secret.yaml"])
    fits(documents)
    connection, login, *secrets = documents
    assert connection["spec"]["skipTLSVerify"] is bool(store)
    assert login["spec"]["kubernetes"] == {"role": "keyturn-local", "serviceAccount": "litellm"}
    assert [each["spec"]["path"] for each in secrets] == ["litellm/providers", "litellm/GEMINI_API_KEY"]
    assert {each["spec"].get("namespace") for each in (login, *secrets)} == {store.get("namespace")}
    templates = [each["spec"]["destination"]["transformation"]["templates"] for each in secrets]
    assert [list(each) for each in templates] == [["keys-1.env"], ["keys-2.env"]]
    assert templates[0]["keys-1.env"]["text"].splitlines()[1].startswith('ODD_KEY=\'{{ get .Secrets "9.odd-field" | ')
    assert templates[1]["keys-2.env"]["text"].startswith('GEMINI_API_KEY=\'{{ get .Secrets "key" | ')
    for number in (1, 2):
        assert f"--env-file /run/keyturn/keys-{number}.env" in files["entrypoint.sh"]


def test_injector_annotations_are_known_ones_and_all_text() -> None:
    choices = Choices(interval=timedelta(minutes=2), rendered=PurePosixPath("/keys/of it/k.env"), role="lite")
    store = {**TEAM, "verify": False}
    (pod,) = loaded(injector(plan(BUNDLE, ("vault_kv2",), choices, **store))["pod-annotations.yaml"])
    found = pod["spec"]["template"]["metadata"]["annotations"]
    short = {name.removeprefix("vault.hashicorp.com/"): value for name, value in found.items()}
    assert set(short) == ANNOTATIONS | {f"{name}keys.env" for name in PER_FILE}
    assert all(isinstance(value, str) for value in found.values())
    assert (short["role"], short["template-static-secret-render-interval"]) == ("lite", "120s")
    assert (short["agent-inject-file-keys.env"], short["secret-volume-path"]) == ("k.env", "/keys/of it")
    template = short["agent-inject-template-keys.env"]
    assert template in vault_agent(plan(BUNDLE, ("vault_kv2",), choices, **store))["agent.hcl"]


def test_a_credential_is_read_from_its_first_secret_that_can_be() -> None:
    secrets = {"batch": [AWS["batch"], {"store": "vault", "path": "copy", "field": "B"}]}
    assert [each.path for each in plan(secrets, ("vault_kv2",)).wanted] == ["copy"]
    assert [each.path for each in plan(secrets).wanted] == ["prod/batch"]
    with pytest.raises(MisconfiguredError, match="batch, anthropic is in no store that this can read"):
        plan({**BUNDLE, **AWS}, ("vault_kv2",))


def test_an_agent_talks_to_one_vault_and_operators_to_several() -> None:
    both = plan({**BUNDLE, "else": {"store": "other", "path": "x", "field": "ELSE"}})
    for write in (vault_agent, injector):
        with pytest.raises(MisconfiguredError, match="several Vaults"):
            write(both)
    for operator, file in ((external_secrets, "external-secret.yaml"), (vault_secrets, "vault-static-secret.yaml")):
        fits(loaded(operator(both)[file]))


def test_an_agent_logs_in_by_kubernetes_with_a_role() -> None:
    text = vault_agent(plan(BUNDLE, ("vault_kv2",), Choices(role="lite", auth_mount="k8s/eu")))["agent.hcl"]
    assert 'method "kubernetes" {\n    mount_path = "auth/k8s/eu"\n    config = {\n      role = "lite"' in text
    assert "role_id" not in text


# The command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keyturn.yaml"
    path.write_text(configuration(BUNDLE, ENV))
    monkeypatch.setenv("KEYTURN_CONFIG", str(path))
    monkeypatch.setenv("COLUMNS", "200")
    return path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["agent-config", "--proxy", "local", *words])


@pytest.mark.parametrize("kind", ["agent", "injector", "eso", "vso"])
def test_the_command_writes_what_it_prints_and_no_reference_is_followed(kind: str, config: Path) -> None:
    printed, out = typed("--for", kind), config.parent / "made" / "here"
    assert printed.exit_code == 0, printed.output
    assert typed("--for", kind, "--out", str(out)).exit_code == 0
    texts = {path.name: path.read_text() for path in out.iterdir()}
    assert len(texts) == 2
    assert all(f"# {name}\n{text}" in printed.stdout for name, text in texts.items())
    assert os.access(out / "entrypoint.sh", os.X_OK)
    assert "env:ROLE_ID" not in printed.stdout


def test_the_entrypoint_starts_the_member_with_the_program_that_it_is_given(config: Path) -> None:
    program = config.parent / "bin" / "keyturn"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    program.chmod(0o755)
    assert typed("--out", str(config.parent), "--rendered", "/run/a 'b' $c/k.env").exit_code == 0
    ran = subprocess.run(
        [config.parent / "entrypoint.sh", "litellm", "--config", "a b"],
        env={"PATH": f"{program.parent}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = ["exec", "--proxy", "local", "--env-file", "/run/a 'b' $c/k.env", "--control", "http://127.0.0.1:4100"]
    assert ran.stdout == "|".join([*words, "--", "litellm", "--config", "a b", ""])


@pytest.mark.parametrize(
    "words",
    [
        ("--role", 'a" }'),
        ("--auth-mount", "a\nb"),
        ("--service-account", "${x}"),
        ("--rendered", "relative/k.env"),
        ("--rendered", "/a\nb"),
        ("--logins", "some/folder"),
        ("--interval", "soon"),
        ("--for", "eso", "--rendered", "/run/two words"),
        ("--out", "/dev/null/x"),
    ],
)
def test_what_cannot_stand_in_those_files_is_refused_and_not_repeated(words: tuple[str, ...], config: Path) -> None:
    result = typed(*words)
    assert result.exit_code == 2, result.output
    assert "stopped: " in result.stderr
    assert "dev" in words[-1] or words[-1] not in result.output
