"""What is no answer of Secrets Manager's, and what in a secret is not ours, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyturn.stores.aws_answers import is_of_aws
from keyturn.stores.aws_journal import Journal
from keyturn.stores.aws_tags import changes, is_ours, notes_of, unpack
from keyturn.stores.json_bundle import NotABundleError, field_text, is_bundle
from tests.stores.test_aws_fuzz import DESCRIBED, IDS, JOURNAL, NAMED, WRITTEN, read

OK: dict[str, Any] = {"ResponseMetadata": {"HTTPStatusCode": 200}}
ITS_MARKS = ({"RequestId": "x"}, {"HTTPHeaders": {"content-type": "application/x-amz-json-1.1"}})
NO_LABELS: list[Any] = [None, "x", [7], [None], [["x"]], [""], ["a1B2" * 65]]
NO_KEYS: list[Any] = [None, 7, "", ["x"], " x"]
LOOKS_LIKE_A_KEY = "sk-" + "a1B2c3" * 6


def wrong(operation: str, name: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(operation, {name: value}) for value in values]


def journals(name: str, *values: Any) -> list[str]:
    return [journal(**{name: value}) for value in values]


def journal(**changes: Any) -> str:
    return json.dumps({**json.loads(JOURNAL.text()), **changes})


def named(value: Any) -> str:
    return str(value) if str(value).endswith(("Secret", "Value", "Stage", "Resource")) else "answer"  # keys are random


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("DescribeSecret", DESCRIBED),
        ("DescribeSecret", NAMED),
        ("GetSecretValue", read("current")),
        ("GetSecretValue", {**NAMED, "VersionId": IDS["current"], "SecretBinary": b"x"}),
        ("PutSecretValue", WRITTEN),
        ("UpdateSecretVersionStage", NAMED),
    ],
    ids=named,
)
def test_what_aws_answers_is_taken(operation: str, answer: dict[str, Any]) -> None:
    assert is_of_aws(operation, {**answer, **OK})
    for status in (201, 204, 300, None):
        assert not is_of_aws(operation, {**answer, "ResponseMetadata": {"HTTPStatusCode": status}})
    assert not is_of_aws(operation, answer)
    assert not is_of_aws(operation, {**answer, **OK, "ARN": None})
    assert not is_of_aws(operation, OK), "a 200 of whatever stands in between"


@pytest.mark.parametrize("operation", ["TagResource", "UntagResource"])
def test_an_answer_that_says_nothing_is_known_by_its_headers(operation: str) -> None:
    for marks in ITS_MARKS:
        assert is_of_aws(operation, {"ResponseMetadata": {"HTTPStatusCode": 200, **marks}})
        assert not is_of_aws(operation, {"ResponseMetadata": {"HTTPStatusCode": 204, **marks}})
    assert not is_of_aws(operation, OK)
    for kind in (None, 7, "text/html", "application/json"):
        assert not is_of_aws(operation, {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"content-type": kind}}})


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        *wrong("GetSecretValue", "VersionId", None, 7, "", "x" * 65, "x\n", LOOKS_LIKE_A_KEY),
        *wrong("GetSecretValue", "SecretString", 7, ["x"], {"x": "y"}, True, "\ud800"),
        *wrong("PutSecretValue", "VersionStages", *NO_LABELS),
        *wrong("DescribeSecret", "VersionIdsToStages", *({"x": labels} for labels in NO_LABELS)),
        *wrong("DescribeSecret", "VersionIdsToStages", [], "x", {LOOKS_LIKE_A_KEY: ["AWSCURRENT"]}),
        *wrong("DescribeSecret", "Tags", "x", ["x"], [{}], [{"Key": 7}], [{"Key": "x", "Value": 7}]),
        *wrong("DescribeSecret", "ReplicationStatus", [{}], [{"Region": "x y"}], [{"Region": ["x"]}]),
        *wrong("DescribeSecret", "PrimaryRegion", 7, "", "us east", LOOKS_LIKE_A_KEY.upper()),
    ],
    ids=named,
)
def test_what_has_another_form_is_not(operation: str, changes: dict[str, Any]) -> None:
    golden = {"GetSecretValue": read("current"), "PutSecretValue": WRITTEN, "DescribeSecret": DESCRIBED}[operation]
    assert not is_of_aws(operation, {**golden, **OK, **changes})


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "[" * 100_000, '{"base":' * 100_000, "x"),
        *journals("base", None, "x", [], {}, {"id": "x"}, {"key": "x"}, {"id": 7, "key": "x"}),
        *journals("pending", None, [], {"id": "x", "key": "x\n"}, {"id": "x", "key": "\ud800"}),
        *journals("previous", *({"id": "x", "key": key} for key in NO_KEYS)),
        *journals("issued", None, [], [["a", "b"]], "ab", {"a": 1}, {"a": None}, {"a": ["x"]}),
        journal()[:-1] + ', "base": {}}',
    ],
    ids=named,
)
def test_a_journal_is_ours_as_a_whole_or_none(text: str) -> None:
    assert Journal.parse(journal()) == JOURNAL
    assert Journal.parse(text) is None


def test_a_bundle_that_is_nested_without_end_is_none() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000):
        assert not is_bundle(text)
        with pytest.raises(NotABundleError):
            field_text(text, "a")


def test_a_tag_with_another_name_than_we_write_is_not_ours() -> None:
    """`keyturn:007` was looked up as `keyturn:7`, and its secret could not be rotated."""
    names = ("007", "\u0663", "1000", "", "-1", "key_", "key_7", "key_A", "key_" + "a" * 21, "KEY_a", "attempt")
    theirs = dict.fromkeys(names, ".a.")
    assert not any(is_ours(name) for name in names)
    assert notes_of({**theirs, "1": "second", "0": "2.attempt:1:1 .", "key_a": ".svc_1."}) == {
        "attempt": "1",
        "key_a": "svc_1",
    }
    assert changes(theirs, {"key_a": None}) == ({}, [])


@pytest.mark.parametrize("text", ["", ".", "svc_1", ".svc_1", ".svc\u00e9_1.", ".svc\n_1."])
def test_a_tag_apart_that_was_changed_by_hand_is_no_note(text: str) -> None:
    assert notes_of({"key_a": text}) == {}


@pytest.mark.parametrize("value", ["9" * 5000 + ".x", "\u0663.attempt:1:1 .", "1", "x.", ".", ""])
def test_a_value_without_a_count_holds_no_notes(value: str) -> None:
    assert unpack([value, "1.attempt:1:1 ."]) == {}
