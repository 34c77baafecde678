"""What is no answer of OpenAI's, one by one: nothing of it is taken for half of one."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.json_object import UnreadableError
from keyturn.providers.openai_answers import created, listed, page, thing
from tests.providers.test_openai_fuzz import ACCOUNT, CREATED, KEY, MINTED, PAGE


def with_changes(golden: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**golden, **changes}.items() if value is not ...}


def named(value: Any) -> str:
    return repr(value)[:40]


IDS: list[Any] = [None, ..., "", 7, True, [], {}, "a/b", "../x", "key_1\n", "é", "x" * 200, "sk-" + "a1B2c3" * 6]
TIMES: list[Any] = [..., "1711471533", True, [], -1, 1711471533000, 1e300, float("nan"), float("inf"), 10**400]


@pytest.mark.parametrize(
    "changes",
    [
        *({"id": each} for each in IDS),
        *({"created_at": each} for each in [None, *TIMES]),
        *({"expires_at": each} for each in TIMES[1:]),
        *({"name": each} for each in (None, ..., "", 7, ["x"])),
        *({"value": each} for each in (None, ..., "", 7, ["x"], "two\nlines", " x", "\ud800", {"x": "x"})),
    ],
    ids=named,
)
def test_a_created_key_has_all_that_a_key_needs(changes: dict[str, Any]) -> None:
    assert created(CREATED, "svc_acct_1").ref.id == "key_1"
    with pytest.raises(UnreadableError) as refused:
        created(with_changes(CREATED, **changes), "svc_acct_1")
    assert refused.value.__context__ is None
    assert not refused.value.args


@pytest.mark.parametrize("account_key", [None, ..., [], "x", {}, [CREATED], with_changes(CREATED, value=None)], ids=named)
def test_an_account_is_made_with_its_key(account_key: Any) -> None:
    with pytest.raises(UnreadableError):
        created(with_changes(MINTED, api_key=account_key), None)


ODD: list[Any] = [7, ["x"], {"x": 1}, True]
OWNERS: list[Any] = ["x", 7, ["service_account"], {"service_account": "x"}, {"service_account": []}]


@pytest.mark.parametrize(
    "changes",
    [
        *({"id": each} for each in IDS),
        *({"created_at": each} for each in [None, *TIMES]),
        *({"last_used_at": each} for each in TIMES[1:]),
        *({"name": each} for each in ODD),
        *({"redacted_value": each} for each in ODD),
        *({"owner": each} for each in OWNERS),
        *({"owner": {"service_account": with_changes(ACCOUNT, id=each)}} for each in IDS[2:]),
        {"owner": {"service_account": with_changes(ACCOUNT, name=7)}},
    ],
    ids=named,
)
def test_a_listed_key_is_of_its_form_and_with_it_the_page(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        listed(with_changes(KEY, **changes))
    with pytest.raises(UnreadableError):
        page({**PAGE, "data": [KEY, with_changes(KEY, **changes)]})


NO_LISTS: list[Any] = [None, ..., {}, "", "x", [None], ["x"], [[]]]
NO_TRUTHS: list[Any] = [None, ..., "false", 0, []]


@pytest.mark.parametrize(
    "changes",
    [
        *({"data": each} for each in NO_LISTS),
        *({"has_more": each} for each in NO_TRUTHS),
        *({"has_more": True, "last_id": each} for each in IDS),
    ],
    ids=named,
)
def test_a_page_says_what_it_has_and_whether_there_is_more(changes: dict[str, Any]) -> None:
    """`"has_more": "false"` was taken for true, and a page without keys for an empty project."""
    with pytest.raises(UnreadableError):
        page(with_changes(PAGE, **changes))


def test_a_name_or_hint_that_looks_like_a_key_is_masked() -> None:
    key = "sk-" + "a1B2c3" * 6
    found = listed(with_changes(KEY, name=f"my {key}", redacted_value=key))
    assert (found.key.name, found.key.hint) == ("my ***", "***")
    assert listed(with_changes(KEY, redacted_value=f"{key}...xyz")).key.hint == f"{key}...xyz", "a long one is a hint, too"
    assert created(with_changes(CREATED, name=key), "svc_acct_1").ref.name == "***"


def test_a_users_key_has_no_account() -> None:
    for owner in (None, ..., {}, {"type": "user", "user": {"id": "user_1"}}, {"service_account": None}):
        found = listed(with_changes(KEY, owner=owner))
        assert (found.key.owner, found.account_name) == ("", "")


def test_every_object_says_that_it_is_one() -> None:
    assert thing({"object": "organization.project"})
    for wrong in ({}, {"object": None}, {"object": ""}, {"object": 7}):
        with pytest.raises(UnreadableError):
            thing(wrong)
