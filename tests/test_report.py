"""A rotation as a page: what it came to, what is next, its steps with how long they took, the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.outcome import Outcome, Result, came_to
from keyturn.assembly import Assembly, Ending, Line
from keyturn.errors import EvidenceMissingError, KeyturnError, PermanentError, RejectedError, UnavailableError
from keyturn.evidence import Evidence, MemberEvidence, Rule
from keyturn.report import Ran, headline, markdown
from tasks.policy import Given, as_task

BEGUN = datetime(2026, 3, 2, 3, 0, 0, tzinfo=UTC)


def line(second: int, step: str, sentence: str) -> Line:
    return Line(BEGUN + timedelta(seconds=second), step, sentence)


TIMELINE = [
    line(1, "observe", "a new key is due (manual)"),
    line(2, "roll", "local/one: rolling"),
    line(9, "roll", "local/one: serves the new key"),
    line(74, "prove", "local/one: serves the current key"),
]
DONE = Ending("rotated", "every member serves it", "none")


def page(timeline: Sequence[Line] = (), **more: Any) -> str:
    return markdown(Ran("openai-prod", BEGUN, BEGUN + timedelta(seconds=80), timeline, **more))


def failed(error: KeyturnError, step: str = "") -> KeyturnError:
    error.step = step
    return error


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    below = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    table = [row for row in below.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").replace("\\|", "\0").split("|")] for row in table][2:]


def test_what_it_came_to_and_what_is_next_come_first() -> None:
    assert page(TIMELINE, ending=DONE).startswith(
        "# openai-prod\n\n**Rotated.** every member serves it\n\n**Next step:** none\n"
    )


def test_a_step_has_one_row_with_its_begin_how_long_it_took_and_its_last_word() -> None:
    assert rows(page(TIMELINE, ending=DONE), "Steps") == [
        ["observe", "2026-03-02 03:00:00", "1.0 s", "a new key is due (manual)"],
        ["roll", "2026-03-02 03:00:01", "8.0 s", "local/one: serves the new key"],
        ["prove", "2026-03-02 03:00:09", "1 min 05 s", "local/one: serves the current key"],
    ]


def test_the_timeline_has_every_line_in_order_and_the_time_since_the_one_before() -> None:
    assert rows(page(TIMELINE), "Timeline") == [
        ["03:00:01", "+1.0 s", "observe", "a new key is due (manual)"],
        ["03:00:02", "+1.0 s", "roll", "local/one: rolling"],
        ["03:00:09", "+7.0 s", "roll", "local/one: serves the new key"],
        ["03:01:14", "+1 min 05 s", "prove", "local/one: serves the current key"],
    ]


def test_a_failure_names_its_step_the_reason_and_what_to_do() -> None:
    failure = failed(EvidenceMissingError("local/one answers 500", remedy="mend the member"), "prove")
    text = page(TIMELINE, failure=failure)
    assert "**Stopped at prove.** local/one answers 500\n" in text
    assert "**Next step:** mend the member\n" in text
    assert rows(text, "Steps")[-1][-1] == "**stopped:** local/one answers 500"


def test_a_step_that_failed_before_a_word_has_its_row() -> None:
    text = page(TIMELINE[:1], failure=failed(PermanentError("may not write"), "preflight"))
    assert rows(text, "Steps")[-1] == ["preflight", "2026-03-02 03:00:01", "1 min 19 s", "**stopped:** may not write"]


@pytest.mark.parametrize("error", [PermanentError("stopped"), UnavailableError("not there")])
def test_without_a_remedy_there_is_a_next_step_all_the_same(error: KeyturnError) -> None:
    assert "**Next step:** " in page(TIMELINE, failure=error) and "**Next step:** \n" not in page(TIMELINE, failure=error)


def test_what_is_in_service_is_said_to_be_untouched_only_where_it_is() -> None:
    untouched = "Nothing that is in service was changed by this run."
    refused = failed(RejectedError("the provider refuses the new key"), "validate")
    before = [line(1, "create", "created key_1"), line(2, "validate", "rejected"), line(3, "undo", "revoked key_1")]
    assert untouched in page(before, failure=refused)
    for touched in ("promote", "roll", "rollback", "revoke", "revoke_first"):
        assert untouched not in page([line(0, touched, "done"), *before], failure=refused), touched
    assert untouched not in page(before, failure=failed(PermanentError("no"), "promote"))
    assert untouched not in page(before, failure=refused, turned_in_place=True), "the old text ends by itself"
    assert untouched not in page(before, ending=DONE)


def test_a_run_that_came_to_no_end_says_so() -> None:
    text = page(TIMELINE)
    assert "**Did not finish.**\n" in text
    assert "**Next step:** run `keyturn rotate openai-prod` again" in text


def test_the_table_of_the_rotation_says_what_was_asked_for_and_how_many_were_proved() -> None:
    members = tuple(
        MemberEvidence("local", name, rule, "said so", BEGUN)
        for name, rule in (("one", Rule.ANSWERED), ("two", Rule.UNKNOWN))
    )
    text = page(TIMELINE, facts={"why": "manual", "overlap": "24h"}, evidence=[Evidence(members), Evidence(members)])
    assert "| why | manual |\n| overlap | 24h |\n| members proved | 1 of 2 |\n| took | 1 min 20 s |" in text


def test_a_sentence_cannot_break_the_table() -> None:
    text = page([line(0, "roll", "a | b\n| c | d |\nend")], ending=Ending("x", "two\nlines", "a | b"))
    assert [len(row) for heading in ("Steps", "Timeline") for row in rows(text, heading)] == [4, 4]


def test_a_rotation_that_did_not_begin_has_empty_tables() -> None:
    assert rows(page(), "Steps") == rows(page(), "Timeline") == []


# What a run came to, as flows say it ------------------------------------------------------------------------------------

LATER = BEGUN + timedelta(days=1)


@pytest.mark.parametrize(
    ("outcome", "following"),
    [
        (Outcome("a", Result.RETIRED, "the old key is refused"), "none"),
        (Outcome("a", Result.NOTHING, "not due"), "none"),
        (Outcome("a", Result.ROTATED, "the old key lives on", LATER), "2026-03-03 03:00:00 UTC, by a run of its own"),
        (Outcome("a", Result.PENDING, "a member is silent", LATER), "`keyturn retire a`"),
        (Outcome("a", Result.PENDING, "delete key_1 in the console", by_hand=True), "a person does what is said here"),
        (Outcome("a", Result.PLANNED, "a new key is due"), "run it without the dry run"),
        (Outcome("a", Result.ROLLED_BACK, "the previous key is served again", LATER), "`keyturn rotate a`"),
    ],
)
def test_each_outcome_has_its_next_step(outcome: Outcome, following: str) -> None:
    c: Any = Assembly.__new__(Assembly)
    assert came_to(c, outcome) is outcome
    assert following in c.ending.next
    assert (c.ending.word, c.ending.sentence) == (outcome.result.value, outcome.sentence)


async def test_an_error_of_a_task_says_of_which_step_it_is() -> None:
    async def refuses() -> None:
        raise RejectedError("no")

    fn: Any = as_task(refuses, name="validate", retries=0).fn
    with pytest.raises(RejectedError) as raised:
        await fn(Given((), {}))
    assert raised.value.step == "validate"
    assert headline(Ran("a", BEGUN, BEGUN, (), failure=raised.value)) == "stopped at validate"
