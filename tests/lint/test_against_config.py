"""With a keyturn.yaml: what its credentials deliver, and what LiteLLM reads."""

from __future__ import annotations

import pytest

from keyturn.lint.written import Written, written
from tests.lint.conftest import Folder
from tests.lint.examples import deployment, litellm, service
from tests.test_config import GOOD


@pytest.fixture
def delivered(folder: Folder) -> Written:
    return written(folder.write("keyturn.yaml", GOOD))


def test_a_credential_is_delivered_under_its_variable(delivered: Written, folder: Folder) -> None:
    assert delivered.variables == {"OPENAI_API_KEY": "openai-prod"}
    lines = (folder.path / "keyturn.yaml").read_text().split("\n")
    assert lines[delivered.lines["openai-prod"] - 1].strip() == "openai-prod:"


def test_what_fits_is_clean(delivered: Written, folder: Folder) -> None:
    assert folder.rules(litellm(", api_key: os.environ/OPENAI_API_KEY"), written=delivered) == []


def test_a_variable_that_nobody_writes_and_one_that_nobody_reads(delivered: Written, folder: Folder) -> None:
    found = folder.said(litellm(", api_key: os.environ/OPENAI_KEY"), written=delivered)
    line = delivered.lines["openai-prod"]
    assert [(each.path, each.rule.id, each.line) for each in found] == [
        ("keyturn.yaml", "KT502", line),
        ("x.yaml", "KT501", 3),
    ]
    assert "OPENAI_KEY" in found[1].message


def test_a_model_that_names_no_variable_reads_the_usual_one(delivered: Written, folder: Folder) -> None:
    assert folder.rules(litellm(), written=delivered) == [("KT203", 3)]


def test_without_a_configuration_of_litellm_nobody_can_say_what_is_read(delivered: Written, folder: Folder) -> None:
    assert folder.rules(service(""), "compose.yaml", written=delivered) == []


def test_a_key_that_reaches_a_proxy_past_keyturn(delivered: Written, folder: Folder) -> None:
    lines = "    environment: [GROQ_API_KEY, OPENAI_API_KEY, GROQ_API_BASE]\n"
    (found,) = folder.said(service(lines), "compose.yaml", written=delivered)
    assert (found.rule.id, "GROQ_API_KEY" in found.message) == ("KT501", True)
    assert folder.rules(service(lines, image="postgres:1"), "compose.yaml", written=delivered) == []
    pod = deployment(more="          env: [{name: XAI_API_KEY, valueFrom: {}}]\n")
    assert [rule for rule, _ in folder.rules(pod, written=delivered)] == ["KT501"]


def test_a_credential_may_be_excepted_where_it_stands(folder: Folder) -> None:
    text = GOOD.replace("  openai-prod:\n", "  # keyturn: ignore KT502 read by another program\n  openai-prod:\n", 1)
    delivered = written(folder.write("keyturn.yaml", text))
    assert folder.rules(litellm(", api_key: os.environ/X"), written=delivered) == [("KT501", 3)]


def test_the_variable_of_a_lease_is_delivered_and_need_not_be_read(folder: Folder) -> None:
    lease = "leases:\n  azure: {kind: azure_token, managed_identity: true, env: AZURE_TOKEN, proxies: [local]}\n"
    named = litellm(", api_key: os.environ/AZURE_TOKEN")
    without, delivered = (written(folder.write("keyturn.yaml", text)) for text in (GOOD, GOOD + lease))
    assert [rule for rule, _ in folder.rules(named, written=without)] == ["KT502", "KT501"]
    assert [rule for rule, _ in folder.rules(named, written=delivered)] == ["KT502"]


# A key of several parts -------------------------------------------------------------------------------------------------

PROVIDER = "providers:\n  iam: {kind: aws_access_key, region: us-east-1, user_name: litellm}\n"


@pytest.fixture
def pair(folder: Folder) -> Written:
    text = GOOD.replace("providers:\n", PROVIDER, 1).replace("provider: openai-org", "provider: iam", 1)
    return written(folder.write("keyturn.yaml", text))


BEDROCK = "bedrock/amazon.nova-lite-v1:0"


def of_bedrock(params: str) -> str:
    return litellm(params).replace("openai/gpt-4o", f"'{BEDROCK}'")


def test_a_key_of_several_parts_is_delivered_under_each_variable(pair: Written) -> None:
    assert pair.variables == dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "openai-prod")


@pytest.mark.parametrize(
    ("params", "rules"),
    [
        ("", []),
        (", aws_region_name: us-east-1", []),
        (", aws_access_key_id: os.environ/AWS_ACCESS_KEY_ID, aws_secret_access_key: os.environ/AWS_SECRET_ACCESS_KEY", []),
        (", aws_access_key_id: os.environ/OTHER_ID", ["KT501", "KT502"]),
        (", aws_profile_name: work", ["KT502", "KT502"]),
        (", api_key: os.environ/AWS_BEARER_TOKEN_BEDROCK", ["KT501", "KT502", "KT502"]),
    ],
)
def test_which_parts_a_model_of_bedrock_reads(params: str, rules: list[str], pair: Written, folder: Folder) -> None:
    text = of_bedrock(params)
    assert BEDROCK in text, "else this shows nothing"
    found = [rule for rule, _ in folder.rules(text, written=pair)]
    assert sorted(rule for rule in found if rule.startswith("KT50")) == rules


def test_a_variable_that_litellm_reads_before_a_pair(pair: Written, delivered: Written, folder: Folder) -> None:
    lines = "    environment: [AWS_BEARER_TOKEN_BEDROCK, AWS_REGION]\n"
    written(folder.write("keyturn.yaml", GOOD))
    assert folder.rules(service(lines), "compose.yaml", written=delivered) == []
    (found,) = folder.said(service(lines), "compose.yaml", written=pair)
    assert (found.rule.id, "before AWS_ACCESS_KEY_ID" in found.message) == ("KT302", True)
