"""A rotation as a page: the table, the timeline, and what stopped it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.assembly import Line
from keyturn.errors import EvidenceMissingError, PermanentError
from keyturn.report import markdown

BEGUN = datetime(2026, 3, 2, 3, 0, 0, tzinfo=UTC)


def line(second: int, step: str, sentence: str) -> Line:
    return Line(BEGUN + timedelta(seconds=second), step, sentence)


TIMELINE = [
    line(0, "observe", "a new key is due (manual)"),
    line(2, "roll", "local/one: rolling"),
    line(9, "roll", "local/one: serves the new key"),
    line(10, "prove", "local/one: serves the current key"),
]


def rows(page: str) -> list[list[str]]:
    table = [row for row in page.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").replace("\\|", "\0").split("|")] for row in table]


def test_a_step_has_one_row_with_its_begin_and_its_last_word() -> None:
    assert rows(markdown("openai-prod", TIMELINE))[2:] == [
        ["observe", "2026-03-02 03:00:00", "a new key is due (manual)"],
        ["roll", "2026-03-02 03:00:02", "local/one: serves the new key"],
        ["prove", "2026-03-02 03:00:10", "local/one: serves the current key"],
    ]


def test_the_timeline_has_every_line_in_order() -> None:
    page = markdown("openai-prod", TIMELINE)
    timeline = page[page.index("## Timeline") :].splitlines()
    assert [entry for entry in timeline if entry.startswith("- ")] == [
        "- 03:00:00 **observe** a new key is due (manual)",
        "- 03:00:02 **roll** local/one: rolling",
        "- 03:00:09 **roll** local/one: serves the new key",
        "- 03:00:10 **prove** local/one: serves the current key",
    ]
    assert page.startswith("# openai-prod\n")


def test_a_failure_stands_at_the_end_with_what_to_do() -> None:
    failure = EvidenceMissingError("the old key is kept: local/one answers 500", remedy="mend the member")
    page = markdown("openai-prod", TIMELINE, failure)
    assert page.endswith("## Stopped\n\nthe old key is kept: local/one answers 500\n\n**What to do:** mend the member")


def test_without_a_remedy_there_is_no_empty_advice() -> None:
    assert "What to do" not in markdown("openai-prod", TIMELINE, PermanentError("stopped"))


def test_a_sentence_cannot_break_the_table() -> None:
    page = markdown("openai-prod", [line(0, "roll", "a | b\n| c | d |\nend")])
    assert len(rows(page)) == 3, "head, rule and one row"
    assert all(len(row) == 3 for row in rows(page))


def test_a_rotation_that_did_not_begin_has_an_empty_table() -> None:
    assert len(rows(markdown("openai-prod", []))) == 2
