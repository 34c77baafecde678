"""Each rule finds its bad example, at its line, and leaves the good one alone."""

from __future__ import annotations

import pytest

from keyturn.lint.catalogue import RULES
from keyturn.lint.finding import Severity
from tests.lint.conftest import Folder
from tests.lint.examples import EXAMPLES, OF_KEYTURN_YAML, OF_THE_FILE, Example, filled, litellm

NAMES = [f"{each.rule}-{number}" for number, each in enumerate(EXAMPLES)]


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_the_bad_example_is_told_at_its_line(example: Example, folder: Folder) -> None:
    assert (example.rule, example.line) in folder.rules(example.wrong, example.name)


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_the_good_example_is_not(example: Example, folder: Folder) -> None:
    assert example.rule not in {rule for rule, _ in folder.rules(example.right, example.name)}


OF_A_VALUE = [each for each in EXAMPLES if each.rule not in ("KT001", "KT002", "KT003")]


@pytest.mark.parametrize("example", OF_A_VALUE, ids=[f"{each.rule}-{number}" for number, each in enumerate(OF_A_VALUE)])
def test_a_reason_above_the_line_excepts_it(example: Example, folder: Folder) -> None:
    lines = example.wrong.split("\n")
    inside = lines[example.line - 1]
    lines.insert(
        example.line - 1, f"{inside[: len(inside) - len(inside.lstrip())]}# keyturn: ignore {example.rule} for a test"
    )
    report = folder.rules("\n".join(lines), example.name)
    assert (example.rule, example.line + 1) not in report
    assert ("KT003", example.line) not in report


def test_every_rule_has_an_example() -> None:
    there = {each.rule for each in EXAMPLES} | set(OF_THE_FILE) | set(OF_KEYTURN_YAML)
    assert there == set(RULES)


def test_what_is_good_is_clean_of_everything(folder: Folder) -> None:
    assert folder.rules(litellm(", api_key: os.environ/OPENAI_API_KEY")) == []


def test_a_key_is_told_once_whatever_the_number_of_rules(folder: Folder) -> None:
    text = filled("services:\n  x:\n    environment:\n      OPENAI_API_KEY: <openai>\n      AZURE_API_KEY: '<hex>'\n")
    assert folder.rules(text, "compose.yaml") == [("KT101", 4), ("KT102", 5)]


def test_two_keys_of_one_line_are_two(folder: Folder) -> None:
    first, second = folder.said(filled("a: {b: <openai>, c: <anthropic>}\n"))
    assert (first.rule.id, first.column, second.rule.id) == ("KT101", 8, "KT101")


def test_levels_of_what_is_less_certain(folder: Folder) -> None:
    (lower,) = folder.said(litellm(", api_key: os.environ/openai_api_key"))
    reported = folder.said("services:\n  x: {image: 'berriai/litellm:v1.107.3', stop_grace_period: 90s}\n")
    assert (lower.severity, [each.severity for each in reported]) == (Severity.warning, [Severity.warning])


def test_an_anchor_is_told_where_it_stands_and_once(folder: Folder) -> None:
    text = (
        "x-env: &env\n  GOOGLE_API_KEY: ${A}\n  GEMINI_API_KEY: ${B}\n"
        "services:\n  a: {environment: {<<: *env, X: y}}\n  b: {environment: *env}\n"
    )
    assert folder.rules(text, "compose.yaml") == [("KT302", 2)]


def test_what_compose_replaces_is_not_held_against_a_configuration_inside_of_it(folder: Folder) -> None:
    text = "services: {}\nconfigs:\n  litellm:\n    content: |\n" + "".join(
        f"      {line}\n" for line in litellm(", api_key: '${OPENAI_API_KEY}'").splitlines()
    )
    assert folder.rules(text, "compose.yaml") == []


def test_a_configuration_inside_of_another_file_is_told_at_its_own_columns(folder: Folder) -> None:
    inner = litellm(", api_key: $KEY")
    outer = "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n" + "".join(
        f"    {line}\n" for line in inner.splitlines()
    )
    (alone,) = folder.said(inner, "a.yaml")
    (within,) = folder.said(outer, "b.yaml")
    assert (within.line, within.column) == (alone.line + 4, alone.column + 4)


def test_what_a_sealed_secret_holds_is_encrypted(folder: Folder) -> None:
    sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec:\n  encryptedData:\n    api_key: <hex>\n"
    assert folder.rules(filled(sealed)) == []
    assert folder.rules(filled(sealed.replace("SealedSecret", "Other"))) == [("KT102", 5)]


def test_a_digest_in_an_annotation_is_no_secret(folder: Folder) -> None:
    assert folder.rules(filled("metadata: {annotations: {checksum/secret: <hex>}}\n")) == []
    assert folder.rules(filled("metadata: {annotations: {secret: <hex>}}\n")) == [("KT102", 1)]


def test_values_of_litellms_chart_are_a_configuration_too(folder: Folder) -> None:
    inner = "".join(f"  {line}\n" for line in litellm(", api_key: $KEY", "general_settings: {}\n").splitlines())
    found = {rule for rule, _ in folder.rules(filled(f"masterkey: <word>\nproxy_config:\n{inner}"), "values.yaml")}
    assert {"KT201", "KT102"} <= found
    assert "KT206" not in found  # the chart gives it


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_other_workloads_have_their_own_ways(kind: str, folder: Folder) -> None:
    text = (
        f"apiVersion: apps/v1\nkind: {kind}\nspec:\n  replicas: 1\n  template:\n    spec:\n"
        "      containers: [{name: x, image: postgres}]\n"
    )
    assert folder.rules(text) == []  # no proxy in it
    assert "KT401" in {rule for rule, _ in folder.rules(text.replace("postgres", "litellm/litellm:v1.106.2"))}


def test_a_job_is_no_server(folder: Folder) -> None:
    pod = "{template: {spec: {containers: [{name: x, image: 'litellm/litellm:v1.106.2'}]}}}"
    job = f"apiVersion: batch/v1\nkind: Job\nspec: {pod}\n"
    timed = f"apiVersion: batch/v1\nkind: CronJob\nspec: {{jobTemplate: {{spec: {pod}}}}}\n".replace("v1.106.2", "v1.82.7")
    assert folder.rules(job) == []
    assert folder.rules(timed) == [("KT305", 3)]
